// The time scale: one number a bar, ascending, and the labels of the bars. Prices keep the decimals of the data.
import { currentLanguage, timeLabels } from "./i18n.js";

// Wall clock seconds, so that days begin where the file's days begin. Where those repeat (the end of summer time) the instants
// themselves; where bars are closer than a second, their numbers.
export function barTimes(times) {
  const wall = times.map((time) => Date.parse(`${time.slice(0, 19)}Z`) / 1000);
  if (ascending(wall)) return wall;
  const instants = times.map((time) => Math.floor(Date.parse(/[Z+]|T.*-/.test(time) ? time : `${time}Z`) / 1000));
  return ascending(instants) ? instants : times.map((_, i) => i);
}

const ascending = (values) => values.every((value, i) => Number.isFinite(value) && (i === 0 || value > values[i - 1]));

export const labelsOf = (times) => timeLabels(times);

// kind: 0 year, 1 month, 2 day, 3 minutes, 4 seconds, as the chart library counts them.
export function tickLabel(time, kind) {
  const chinese = currentLanguage() === "zh";
  if (kind === 0) return time.slice(0, 4);
  if (kind === 1) {
    const month = Number(time.slice(5, 7));
    return chinese ? `${month}月` : new Date(Date.UTC(2000, month - 1, 15)).toLocaleString("en-US", { month: "short", timeZone: "UTC" });
  }
  if (kind === 2) return chinese ? `${Number(time.slice(8, 10))}日` : String(Number(time.slice(8, 10)));
  return kind === 3 ? time.slice(11, 16) : time.slice(11, 19);
}

const SINGLE = 6e-8; // prices that were kept in single precision: 2498.939941 is 2498.94
const MOST_DECIMALS = 12, LOOKED_AT = 2000;

// Decimals of the data's tick: as many as nearly all prices need; six figures where prices are not rounded at all.
export function decimalsOf(bars) {
  const values = ["open", "high", "low", "close"].flatMap((name) => bars[name].slice(-LOOKED_AT));
  for (let digits = 0; digits <= MOST_DECIMALS; digits++) {
    const factor = 10 ** digits;
    const off = values.filter((value) => Math.abs(Math.round(value * factor) / factor - value) > SINGLE * Math.abs(value)).length;
    if (off <= values.length / 100) return digits <= 6 ? digits : Math.min(digits, figures(values));
  }
  return figures(values);
}

function figures(values) {
  const size = Math.max(...values.map(Math.abs));
  return Math.min(MOST_DECIMALS, Math.max(0, 5 - Math.floor(Math.log10(size || 1))));
}

// The first bar of a span that ends at the bar `last`: 1M, 6M, YTD, 1Y, All.
export function spanStart(times, last, span) {
  if (span === "all") return 0;
  const end = new Date(`${times[last].slice(0, 19)}Z`), start = new Date(end);
  if (span === "ytd") start.setTime(Date.UTC(end.getUTCFullYear(), 0, 1));
  else start.setUTCMonth(end.getUTCMonth() - { "1m": 1, "6m": 6, "1y": 12 }[span]);
  const from = start.toISOString().slice(0, 19);
  let low = 0, high = last;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle].slice(0, 19) < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
