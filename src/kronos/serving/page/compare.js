// Forecasts that are kept in the chart to compare with: of other models, seeds and cut-offs, with their scores where the bars are known.
import { streamBatch, streamForecast } from "./api.js";
import { pinColour, pinLetter } from "./chart.js";
import { count, decimal, price, t, timeLabels } from "./i18n.js";
import { cutOffs } from "./rolling.js";

const node = (id) => document.getElementById(id);
const KEPT = ["0.1", "0.5", "0.9"]; // the levels that are drawn of a kept forecast
export const MOST_PINS = 8;
const SETTINGS = ["horizon", "lookback", "paths", "temperature", "top_p", "calibration", "calendar"]; // told where they differ

// A forecast as it is kept. asked: its settings; about: model, last, score; rows: of close; now: bars that it knew.
export function pinOf(asked, about, rows, now) {
  return {
    now, asked, key: JSON.stringify({ ...asked, now }), model: about.model, seed: asked.seed, last: about.last, score: about.score ?? null,
    times: rows.map((row) => row.timestamp), levels: Object.fromEntries(KEPT.map((level) => [level, rows.map((row) => row[level])])),
  };
}

// The kept forecasts with one more; the same one is not kept twice, and the oldest goes where there are too many.
export function withPin(pins, pin) {
  return pins.some(({ key }) => key === pin.key) ? pins : [...pins, pin].slice(-MOST_PINS);
}

// Forecasts that differ from the present one in one thing. Each is given to `keep` as soon as it is there.
// what: "seeds", "cutoffs" or "models"; of: {bars, now, asked, models, context, least, tz, levels}
export async function vary(what, number, of, keep, told, signal) {
  if (what === "models") return varyModels(of, keep, told, signal);
  const { bars, now, asked } = of;
  const held = what === "seeds" ? Math.min(asked.horizon, bars.timestamps.length - now) : asked.horizon;
  const cuts = what === "seeds" ? Array.from({ length: number }, (_, i) => [now, asked.seed + i])
    : cutOffs(Math.min(bars.timestamps.length, now + asked.horizon), asked.horizon, number, of.least).map((at) => [at, asked.seed]);
  const lookback = asked.lookback && Math.min(asked.lookback, ...cuts.map(([at]) => at));
  const series = cuts.map(([at, seed], i) => ({ id: String(i), seed, bars: cutBars(bars, Math.max(0, at - (lookback ?? of.context)), at + held) }));
  const answer = await streamBatch(bodyOf({ ...asked, lookback }, of, { holdout: held, target: "close", samples: 0, series }), told, signal);
  for (const about of answer.series) {
    const [at, seed] = cuts[Number(about.id)];
    keep(pinOf({ ...asked, seed }, { ...about, model: answer.model }, answer.forecast.filter(({ id }) => id === about.id), at));
  }
}

async function varyModels(of, keep, told, signal) {
  const { bars, now, asked } = of, held = Math.min(asked.horizon, bars.timestamps.length - now);
  for (const { name } of of.models) {
    const one = { ...asked, model: name };
    const answer = await streamForecast(bodyOf(one, of, { holdout: held, target: "close", samples: 0, bars: cutBars(bars, 0, now + held) }), told, signal);
    keep(pinOf(one, answer, answer.forecast, now));
  }
}

const cutBars = (bars, from, to) => Object.fromEntries(Object.entries(bars).map(([name, values]) => [name, values.slice(from, to)]));

function bodyOf(asked, { tz, levels }, more) {
  const body = { ...asked, ...more, quantiles: levels, tz: tz && !/^UTC[+-]/.test(tz) ? tz : null };
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

// ---- legend and table

// One line a forecast: what tells it from the others.
export function pinNames(pins) {
  const differing = SETTINGS.filter((name) => new Set(pins.map(({ asked }) => asked[name])).size > 1);
  const lasts = [...new Set(pins.flatMap(({ last, times }) => [last, ...times.slice(0, 2)]))], labels = timeLabels(lasts);
  return pins.map((pin) => [
    pin.model, t("seedOf", { seed: pin.seed }), t("cutOffAt", { time: labels[lasts.indexOf(pin.last)] }),
    ...differing.map((name) => `${t(name === "top_p" ? "topP" : name)} ${said(name, pin.asked[name])}`),
  ].join(" · "));
}

function said(name, value) {
  if (name === "calibration") return t(value === "none" ? "asDrawn" : "calibrated");
  return typeof value === "number" ? count(value) : value ?? t("auto");
}

export function showPins(pins, remove) {
  const names = pinNames(pins);
  node("pins").hidden = node("compare").hidden = !pins.length;
  node("pins").replaceChildren(...pins.map((pin, i) => {
    const item = document.createElement("li");
    item.append(keyOf(i), names[i], away(names[i], () => remove(i)));
    return item;
  }));
  if (!pins.length) return;
  const scored = pins.filter(({ score }) => score), best = Math.min(...scored.map(ratio));
  const heads = [t("keptForecast"), t("forecastBars"), t("mae"), t("maeLast"), t("maeRatio"), t("crps"), t("inside"), ""];
  const rows = pins.map((pin, i) => {
    const { score } = pin, line = document.createElement("tr"), name = cell("th", "", "row");
    name.append(keyOf(i), names[i]);
    const figures = score ? [
      [price(score.mae)], [price(score.mae_last_price)], [decimal(ratio(pin)), scored.length > 1 && ratio(pin) === best ? "best" : ""],
      [price(score.crps)], [t("countOf", { count: count(score.inside_80), total: count(score.bars) })],
    ] : [[t("notKnown"), "muted"], ["–"], ["–"], ["–"], ["–"]];
    const last = cell("td", "");
    last.append(away(names[i], () => remove(i)));
    line.append(name, cell("td", count(pin.times.length)), ...figures.map(([text, kind]) => cell("td", text, kind)), last);
    return line;
  });
  const head = document.createElement("thead"), top = document.createElement("tr"), body = document.createElement("tbody");
  top.append(...heads.map((text) => cell(text ? "th" : "td", text, text ? "col" : "")));
  head.append(top);
  body.append(...rows);
  node("compare-table").replaceChildren(head, body);
  node("compare-words").textContent = scored.length ? t("compareWords") : t("compareUnknown");
}

const ratio = ({ score }) => score.mae / score.mae_last_price;

function keyOf(i) {
  const key = document.createElement("i");
  key.className = "pin";
  key.style.background = pinColour(i);
  key.textContent = pinLetter(i);
  return key;
}

function away(name, act) {
  const button = document.createElement("button");
  Object.assign(button, { type: "button", className: "link", textContent: "×" });
  button.setAttribute("aria-label", t("unpin", { name }));
  button.addEventListener("click", act);
  return button;
}

function cell(tag, text, kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (tag === "th") made.scope = kind;
  else if (kind) made.className = kind;
  return made;
}
