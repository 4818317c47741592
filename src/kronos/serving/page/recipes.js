// The same forecast in Python, on the command line, and over HTTP.
import { t } from "./i18n.js";

const quoted = (text) => JSON.stringify(text);
const shell = (text) => (/^[\w./:=,+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// told: {name, sample, symbol, tz, clean, columns, bars, now, horizon, lookback, paths, model, calendar, seed, temperature, topP, calibration, asked}
export function python(told) {
  const reading = [
    told.sample ? null : quoted(told.name),
    told.symbol && `symbol=${quoted(told.symbol)}`,
    told.tz && `tz=${quoted(told.tz)}`,
    told.clean && `clean=${quoted(told.clean)}`,
    told.columns && `columns={${told.columns.split(",").map((pair) => pair.split("=")).map(([role, column]) => `${quoted(column)}: ${quoted(role)}`).join(", ")}}`,
  ].filter(Boolean);
  const atEnd = told.now === told.bars, held = Math.min(told.horizon, told.bars - told.now);
  const lines = [told.timeframe ? "import kronos.klines" : "import kronos"];
  if (told.sample) {
    lines.push("from kronos.klines.samples import sample_path", "");
    lines.push(`bars = kronos.read_klines(sample_path(${quoted(told.sample)}))`);
  } else lines.push("", `bars = kronos.read_klines(${reading.join(", ")})`);
  if (told.timeframe) lines.push(`bars = kronos.klines.aggregate(bars, ${quoted(told.timeframe)})`);
  lines.push(atEnd ? "known = bars" : `known = bars.iloc[:${told.now}]`, `past = known.iloc[-${told.lookback}:]`);
  const calendar = told.calendar ? `, calendar=${quoted(told.calendar)}` : "";
  if (held === told.horizon) lines.push(`future = bars["timestamps"].iloc[${told.now}:${told.now + told.horizon}]`);
  else if (held === 0) lines.push(`future = kronos.future_timestamps(known["timestamps"], ${told.horizon}${calendar})`);
  else {
    lines.push(`more = kronos.future_timestamps(bars["timestamps"], ${told.horizon - held}${calendar})`);
    lines.push(`future = [*bars["timestamps"].iloc[${told.now}:], *more]`);
  }
  lines.push(
    'values = [c for c in ("open", "high", "low", "close", "volume", "amount") if c in bars]',
    `predictor = kronos.load(${quoted(told.model)})`,
    "forecast = predictor.forecast(",
    `    past[values], past["timestamps"], future, T=${told.temperature}, top_p=${told.topP}, sample_count=${told.paths}, seed=${told.seed}${told.calibration === "none" ? ", calibration=None" : ""}`,
    ")",
    "print(forecast.summary().T)",
    'print(forecast.to_frame(quantiles=[0.1, 0.25, 0.5, 0.75, 0.9]))',
    'forecast.to_html("forecast.html")',
  );
  return lines.join("\n");
}

export function command(told) {
  const held = told.bars - told.now;
  const words = ["kronos forecast"];
  if (told.sample) words.push(`--sample ${told.sample}`);
  else words.push(shell(told.name));
  words.push(`--horizon ${told.horizon}`, `--lookback ${told.lookback}`, `--paths ${told.paths}`, `--seed ${told.seed}`);
  if (told.model !== "nano") words.push(`--model ${shell(told.model)}`);
  if (told.symbol) words.push(`--symbol ${shell(told.symbol)}`);
  if (told.tz) words.push(`--tz ${shell(told.tz)}`);
  if (told.clean) words.push(`--clean ${told.clean}`);
  for (const pair of told.columns ? told.columns.split(",") : []) words.push(`--map ${shell(pair)}`);
  if (told.timeframe) words.push(`--timeframe ${told.timeframe}`);
  if (told.calendar && held < told.horizon) words.push(`--calendar ${shell(told.calendar)}`);
  if (told.asked.temperature) words.push(`--temperature ${told.temperature}`);
  if (told.asked.topP) words.push(`--top-p ${told.topP}`);
  if (told.calibration === "none") words.push("--calibration none");
  words.push("--quantiles 0.1,0.25,0.5,0.75,0.9", "--plot forecast.html", "--out forecast.csv");
  if (held === told.horizon) words.splice(2, 0, "--holdout");
  const note = held === 0 || held === told.horizon ? [] : [t("onlyEnd", { horizon: told.horizon })];
  return [...note, wrapped(words)].join("\n");
}

export function curl(told) {
  const fields = [told.sample ? `sample=${told.sample}` : `file=@${told.name}`];
  const add = (name, value) => value !== undefined && value !== null && value !== "" && fields.push(`${name}=${value}`);
  add("horizon", told.horizon);
  add("lookback", told.lookback);
  if (told.now < told.bars) add("holdout", told.bars - told.now);
  add("paths", told.paths);
  add("seed", told.seed);
  add("model", told.model);
  add("symbol", told.symbol);
  add("tz", told.tz);
  add("clean", told.clean);
  add("columns", told.columns);
  add("timeframe", told.timeframe);
  add("calendar", told.calendar);
  if (told.asked.temperature) add("temperature", told.temperature);
  if (told.asked.topP) add("top_p", told.topP);
  if (told.calibration === "none") add("calibration", "none");
  add("quantiles", "0.1,0.25,0.5,0.75,0.9");
  const words = ["curl", ...(told.token ? ['-H "Authorization: Bearer $KRONOS_TOKEN"'] : []), ...fields.map((field) => `-F ${shell(field)}`)];
  return wrapped([...words, shell(`${location.origin}/v1/forecast`)]);
}

function wrapped(words) {
  const lines = [words[0]];
  for (const word of words.slice(1)) {
    if (lines.at(-1).length + word.length > 96) lines.push(`  ${word}`);
    else lines[lines.length - 1] += ` ${word}`;
  }
  return lines.join(" \\\n");
}
