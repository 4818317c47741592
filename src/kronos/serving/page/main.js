// The page: what is chosen and known, and what happens when.
import { getJson, Gone, Problem, setToken, streamForecast, whenBack } from "./api.js";
import { draw, onNow, pinColour, pinLetter, savePng, showSpan } from "./chart.js";
import { MOST_PINS, pinNames, pinOf, showPins, vary, withPin } from "./compare.js";
import { read, showFacts, wireInputs } from "./data.js";
import { count, currentLanguage, percent, setDecimals, setLanguage, t, timeLabels } from "./i18n.js";
import { forgetFile, keepFile, keptFile, readAddress, writeAddress } from "./kept.js";
import { headerOf, missingColumns, showMapping } from "./mapping.js";
import { saveHtml } from "./pass_on.js";
import { problemText } from "./problems.js";
import { command, curl, python } from "./recipes.js";
import { cutOffs, LEAST_WINDOWS, rollingHoldout, showRolling } from "./rolling.js";
import { fill, saveCsv, showFigures, showScore, showTable } from "./results.js";
import { decimalsOf } from "./scale.js";
import * as several from "./several.js";
import { calendars } from "./texts.js";

const node = (id) => document.getElementById(id);
const LEVELS = [0.05, 0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.65, 0.75, 0.8, 0.85, 0.9, 0.95];
const LEAST = 32; // bars before "now" that a forecast can start from

const state = { service: null, source: null, now: 0, answer: null, asked: null, running: null, again: null, recipe: "python", pins: [], reading: 0 };
const SAMPLE_CALENDARS = { sp500: "XNYS", nasdaq: "XNYS" }; // a learned calendar would forecast New Year's Day
const STARTERS = ["run", "roll", "vary", "several-run"]; // buttons that ask the service for a forecast

// ---- start

function start() {
  applyPreferences();
  showCalendars();
  wire();
  meet();
}

// What the service has, before anything can be asked of it.
async function meet() {
  hideAlert();
  try {
    state.service = await getJson("/v1/models");
  } catch (error) {
    return failed(error, meet);
  }
  node("model").replaceChildren(...state.service.models.map(({ name }) => new Option(name, name)));
  for (const button of document.querySelectorAll("[data-sample]")) button.hidden = !(button.dataset.sample in state.service.samples);
  node("vary-what").querySelector("[value=models]").disabled = state.service.models.length < 2;
  const told = state.told ??= readAddress();
  showVaryCount();
  showAdvice();
  document.documentElement.dataset.ready = "yes";
  if (state.source || state.reading) return;
  if (told.sample in state.service.samples) await open({ sample: told.sample, fields: told.timeframe ? { timeframe: told.timeframe } : {} });
  else {
    const last = await keptFile();
    if (last && !state.reading) await open(last);
  }
  if (told.now && state.source?.answer.ok) moveNowTo(told.now);
}

function showCalendars() {
  const chosen = node("calendar").value, zh = currentLanguage() === "zh";
  const others = [...node("calendar").options].filter(({ value }) => value && !calendars.some(([code]) => code === value));
  node("calendar").replaceChildren(
    new Option(t("learned"), ""), ...calendars.map(([code, english, chinese]) => new Option(`${code} · ${zh ? chinese : english}`, code)), ...others);
  node("calendar").value = chosen;
}

function applyPreferences() {
  const kept = (name, otherwise) => localStorage.getItem(`kronos-${name}`) ?? otherwise;
  const dark = matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark";
  document.documentElement.dataset.theme = kept("theme", dark);
  const chinese = navigator.language.startsWith("zh");
  setLanguage(kept("language", chinese ? "zh" : "en"));
  setColours(kept("colours", chinese ? "red-up" : "green-up"));
  showLanguageButton();
}

function showLanguageButton() {
  node("language").textContent = currentLanguage() === "zh" ? "English" : "中文";
  node("language").lang = currentLanguage() === "zh" ? "en" : "zh";
}

function setColours(name) {
  document.documentElement.dataset.colours = name;
  node("swap-colours").setAttribute("aria-pressed", String(name === "red-up"));
}

// What the model would do by itself stands in the empty fields.
function showAdvice() {
  const model = state.service.models.find(({ name }) => name === node("model").value);
  node("temperature").placeholder = model.temperature;
  node("top-p").placeholder = model.top_p ?? 1;
  const how = model.calibration;
  node("calibration-row").hidden = !how;
  node("coverage").textContent = how?.covers ? t("coverage", { windows: count(how.windows), before: percent(how.covers[0], 1), after: percent(how.covers[1], 1) }) : "";
}

// ---- wiring

function wire() {
  wireInputs(open);
  node("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  node("stop").addEventListener("click", () => state.running?.abort());
  node("model").addEventListener("change", showAdvice);
  node("symbol").addEventListener("change", () => open({ ...state.source, fields: { ...state.source.fields, symbol: node("symbol").value } }));
  node("timeframe").addEventListener("change", () => open({ ...state.chosen, fields: { ...state.chosen.fields, timeframe: node("timeframe").value } }));
  node("read-again").addEventListener("click", () => state.chosen?.file &&
    open({ ...state.chosen, fields: { ...state.chosen.fields, tz: node("tz").value.trim(), columns: node("columns").value.trim() } }));
  for (const id of ["show-paths", "show-truth", "scale", "shape", "averages"]) node(id).addEventListener("change", () => { redraw(); several.redrawCards(smallView()); remember(); });
  for (const id of ["horizon", "lookback", "paths", "model", "calendar", "temperature", "top-p", "seed", "calibration", "windows", "vary-what", "vary-count"]) node(id).addEventListener("change", remember);
  for (const button of document.querySelectorAll("[data-span]")) button.addEventListener("click", () => showSpan(button.dataset.span));
  onNow((now) => moveNow(now));
  node("now-date").addEventListener("change", () => node("now-date").value && moveNowTo(node("now-date").value));
  node("roll").addEventListener("click", roll);
  node("pin").addEventListener("click", () => addPin(pinOf(optionsOf(state.asked), state.answer, closeRows(), state.now)));
  node("vary").addEventListener("click", runVary);
  node("vary-what").addEventListener("change", showVaryCount);
  node("unpin-all").addEventListener("click", () => putPins([]));
  node("several-show").addEventListener("click", showSeveral);
  node("several-run").addEventListener("click", runSeveral);
  node("several-close").addEventListener("click", several.clear);
  node("forget").addEventListener("click", async () => { await forgetFile(); node("forget").hidden = true; });
  node("now").addEventListener("input", () => moveNow(Number(node("now").value)));
  node("now-end").addEventListener("click", () => moveNow(state.source.answer.bars.timestamps.length));
  node("save-csv").addEventListener("click", () => saveCsv(state.answer.forecast, aboutAnswer(), `${baseName()}-forecast.csv`));
  node("save-png").addEventListener("click", () => savePng(`${baseName()}-forecast`, pictureTitle(), t("advice"), pinNames(state.pins).map((name, i) => [`${pinLetter(i)}  ${name}`, pinColour(i)])));
  node("save-html").addEventListener("click", () => passOn().catch((error) => failed(error, null)));
  node("copy").addEventListener("click", copyRecipe);
  node("alert-close").addEventListener("click", hideAlert);
  node("alert-retry").addEventListener("click", () => { const again = state.again; hideAlert(); again?.(); });
  node("token-form").addEventListener("submit", () => { setToken(node("token").value.trim()); hideAlert(); meet(); });
  node("token-open").addEventListener("click", askForToken);
  node("token-dialog").addEventListener("cancel", () => complain(t("noToken"), askForToken, "enterToken"));
  node("theme").addEventListener("click", () => keep("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
  node("language").addEventListener("click", () => keep("language", currentLanguage() === "zh" ? "en" : "zh"));
  node("swap-colours").addEventListener("click", () => keep("colours", document.documentElement.dataset.colours === "red-up" ? "green-up" : "red-up"));
  const tabs = ["python", "command", "curl"];
  for (const name of tabs) node(`tab-${name}`).addEventListener("click", () => chooseRecipe(name));
  document.querySelector("[role=tablist]").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    chooseRecipe(tabs[(tabs.indexOf(state.recipe) + step + tabs.length) % tabs.length]);
    node(`tab-${state.recipe}`).focus();
  });
}

function keep(name, value) {
  localStorage.setItem(`kronos-${name}`, value);
  if (name === "theme") document.documentElement.dataset.theme = value;
  if (name === "colours") setColours(value);
  if (name === "language") {
    setLanguage(value);
    showLanguageButton();
    showCalendars();
    putPins(state.pins);
    several.tell();
    if (state.service) showAdvice();
    if (state.rolled) showRolled();
    if (state.source) { showSource(); showFacts(state.source, readWith); }
  }
  redraw();
  if (state.source?.answer.ok) several.redrawCards(smallView());
  if (state.answer) showAnswer();
}

const baseName = () => (state.source.sample ?? state.source.file.name).replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_") || "kronos";

// ---- the file

const readWith = (fields) => open({ ...state.source, fields });

async function open(source) {
  state.running?.abort();
  hideAlert();
  const name = source.sample ?? source.file.name, turn = ++state.reading;
  state.chosen = source;
  forgetBars();
  const most = state.service.limits.body;
  if (source.file?.size > most) return failed(new Problem({ detail: t("tooLarge", { most: count(Math.floor(most / 2 ** 20)) }) }), null);
  node("source-name").textContent = t("readingFile", { name });
  node("timeframe-row").hidden = false;
  node("timeframe").value = source.fields.timeframe ?? "";
  let found;
  try {
    found = await read(source);
  } catch (error) {
    if (turn !== state.reading) return;
    showSource();
    failed(error, () => open(source));
    return offerMapping(source, error);
  }
  if (turn !== state.reading) return;
  state.source = found;
  showSource();
  showFacts(state.source, readWith);
  const { answer } = found, bars = answer.ok ? answer.bars.timestamps.length : 0;
  node("data-facts").hidden = false;
  if (!answer.ok) return;
  setDecimals(decimalsOf(answer.bars));
  for (const id of ["chart", "chart-tools", "legend", "now-row"]) node(id).hidden = false;
  node("empty").hidden = true;
  canStart(true);
  several.offerSymbols(answer);
  document.documentElement.dataset.loaded = "yes";
  if (!node("calendar").value && source.sample in SAMPLE_CALENDARS) node("calendar").value = SAMPLE_CALENDARS[source.sample];
  Object.assign(node("now"), { min: Math.min(LEAST, bars), max: bars });
  const daily = answer.bars.timestamps.every((time) => time.slice(11, 19) === "00:00:00");
  Object.assign(node("now-date"), { type: daily ? "date" : "datetime-local", step: daily ? "1" : "1" });
  state.now = bars;
  node("now").value = bars;
  showNow();
  redraw();
  if (source.file) await keepFile(source.file, source.fields);
  node("forget").hidden = !source.file;
  remember();
}

// Nothing of the file before may stand beside the next one.
function forgetBars() {
  Object.assign(state, { source: null, answer: null, partial: null, pins: [], rolled: null });
  if (Object.values(SAMPLE_CALENDARS).includes(node("calendar").value) && !(state.chosen.sample in SAMPLE_CALENDARS)) node("calendar").value = "";
  for (const id of ["results", "rolling", "chart", "chart-tools", "legend", "now-row", "faults-big", "faults", "mapping", "data-facts", "symbol-row", "several-row", "forget"]) node(id).hidden = true;
  node("empty").hidden = node("drop-big").hidden = false;
  canStart(false);
  several.clear();
  delete document.documentElement.dataset.loaded;
  showSource();
  putPins([]);
}

function canStart(can) {
  for (const id of STARTERS) node(id).disabled = !can;
}

async function offerMapping(source, error) {
  const missing = error instanceof Problem && source.file ? missingColumns(error.detail) : null;
  if (!missing) return;
  const names = await headerOf(source.file);
  if (!names.length || state.chosen !== source) return;
  node("drop-big").hidden = true;
  showMapping(node("mapping"), source.file, names, missing, source.fields, (columns) => open({ ...source, fields: { ...source.fields, columns } }));
}

function remember() {
  const { source } = state;
  if (!source?.answer.ok) return;
  const { timestamps } = source.answer.bars;
  writeAddress({ sample: source.sample, timeframe: source.sample && source.fields.timeframe, now: state.now < timestamps.length ? timestamps[state.now - 1].slice(0, 19) : null });
}

function showSource() {
  const { source } = state;
  node("source-name").textContent = source ? source.answer.name + (source.answer.symbols.length ? ` · ${source.answer.symbol}` : "") : "";
  node("source-facts").textContent = source ? `· ${t("bars", { count: count(source.answer.rows) })}` : "";
}

// ---- the slider

let soon = null;
function moveNow(wanted) {
  if (!state.source?.answer.ok) return;
  const bars = state.source.answer.bars.timestamps.length, now = Math.max(Math.min(LEAST, bars), Math.min(bars, wanted));
  if (now === state.now) return;
  const again = state.answer !== null || state.running !== null;
  state.now = now;
  state.answer = null;
  state.partial = null;
  node("now").value = now;
  state.rolled = null;
  node("results").hidden = node("rolling").hidden = true;
  showNow();
  remember();
  requestAnimationFrame(() => { redraw(); if (state.source?.answer.ok) several.redrawCards(smallView(), true); });
  clearTimeout(soon);
  if (again) {
    state.running?.abort();
    soon = setTimeout(run, 350);
  }
}

// To the last bar that is not after a time, 2024-07-01 or 2024-07-01T09:30.
function moveNowTo(time) {
  const { timestamps } = state.source.answer.bars, until = time.length === 10 ? `${time}T23:59:59` : time.padEnd(19, ":00");
  let at = timestamps.length;
  while (at > 1 && timestamps[at - 1].slice(0, 19) > until) at--;
  moveNow(at);
  showNow();
}

function showNow() {
  const { timestamps } = state.source.answer.bars;
  const [label] = timeLabels([...new Set([timestamps[state.now - 1], ...timestamps.slice(-2)])]);
  const said = t("nowAt", { time: label, at: count(state.now), count: count(timestamps.length) });
  node("now-label").textContent = said;
  node("now").setAttribute("aria-valuetext", said);
  const shown = (time) => (node("now-date").type === "date" ? time.slice(0, 10) : time.slice(0, 19));
  Object.assign(node("now-date"), { min: shown(timestamps[Number(node("now").min) - 1]), max: shown(timestamps.at(-1)), value: shown(timestamps[state.now - 1]) });
}

// ---- the forecast

// What stands in a field, null where it is empty.
function numberIn(id, least, most, name) {
  const input = node(id), text = input.value.trim();
  input.removeAttribute("aria-invalid");
  if (text === "") return null;
  const value = Number(text);
  if (!Number.isFinite(value) || value < least || value > most) {
    input.setAttribute("aria-invalid", "true");
    input.closest("details")?.setAttribute("open", "");
    input.focus();
    throw new Problem({ detail: t("needNumber", { name, least, most: count(most) }) });
  }
  return value;
}

function settings() {
  const { limits } = state.service, bars = state.source.answer.bars.timestamps.length;
  return {
    horizon: numberIn("horizon", 1, limits.horizon, t("horizon")) ?? 24,
    lookback: numberIn("lookback", 2, Math.min(limits.lookback, state.now), t("lookback")),
    paths: numberIn("paths", 1, limits.paths, t("paths")) ?? 100,
    seed: numberIn("seed", 0, Number.MAX_SAFE_INTEGER, t("seed")) ?? 0,
    temperature: numberIn("temperature", 0, 100, t("temperature")),
    top_p: numberIn("top-p", 0.0001, 1, "top-p"),
    model: node("model").value,
    calibration: node("calibration").value,
    calendar: node("calendar").value.trim() || null,
    bars,
  };
}

function requestOf(asked) {
  const { bars, tz } = state.source.answer;
  const held = Math.min(asked.horizon, asked.bars - state.now);
  const cut = Object.fromEntries(Object.entries(bars).map(([name, values]) => [name, values.slice(0, state.now + held)]));
  const { bars: _, ...options } = asked;
  const body = { ...options, bars: cut, holdout: held, quantiles: LEVELS, target: Object.keys(bars).filter((name) => name !== "timestamps"), samples: Math.min(30, asked.paths) };
  if (tz && !/^UTC[+-]/.test(tz)) body.tz = tz; // a fixed offset is in the times themselves
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

/* A function's result; undefined after its problem was shown. */
function orShown(read) {
  try {
    return read();
  } catch (problem) {
    failed(problem, null);
    return undefined;
  }
}

async function run() {
  if (!state.source?.answer.ok) return;
  hideAlert();
  const asked = orShown(settings);
  if (!asked) return;
  Object.assign(state, { answer: null, partial: null }); // no old figures under a new forecast
  node("results").hidden = true;
  node("pin").disabled = true;
  redraw();
  remember();
  await during(run, async (running) => {
    const answer = await streamForecast(requestOf(asked), (name, data) => state.running === running && told(name, data), running.signal);
    if (state.running !== running) return;
    state.answer = answer;
    state.partial = null;
    state.asked = asked;
    redraw();
    showAnswer();
  });
}

// One thing at a time is asked of the service; the button beside the progress stops it.
async function during(again, work, place = node("stage-title").parentElement) {
  state.running?.abort();
  const running = new AbortController();
  state.running = running;
  showProgress(null);
  if (matchMedia("(max-width: 860px)").matches) place.scrollIntoView({ block: "start" });
  try {
    await work(running);
  } catch (error) {
    if (error.name !== "AbortError" && state.running === running) failed(error, again);
  } finally {
    if (state.running === running) {
      state.running = null;
      if (state.partial) { state.partial = null; redraw(); }
      node("progress-row").hidden = true;
      node("several-progress").textContent = "";
      canStart(Boolean(state.source?.answer.ok));
    }
  }
}

async function roll() {
  if (!state.source?.answer.ok) return;
  hideAlert();
  const { bars } = state.source.answer, { limits, models } = state.service;
  let asked, ats;
  try {
    asked = settings();
    ats = cutOffs(state.now, asked.horizon, numberIn("windows", LEAST_WINDOWS, 50, t("windows")) ?? 12, LEAST);
    if (ats.length < LEAST_WINDOWS) throw new Problem({ detail: t("tooFewWindows", { count: count(ats.length), horizon: count(asked.horizon), least: LEAST_WINDOWS }) });
  } catch (problem) {
    return failed(problem, null);
  }
  const { bars: _, calendar: __, lookback, ...options } = asked, { tz } = state.source.answer;
  const body = { ...options, lookback: lookback && Math.min(lookback, ats.at(-1)), quantiles: LEVELS, tz: tz && !/^UTC[+-]/.test(tz) ? tz : null };
  const kept = lookback ?? Math.min(limits.lookback, models.find(({ name }) => name === asked.model).context);
  state.rolled = null;
  node("rolling").hidden = true;
  remember();
  await during(roll, async (running) => {
    const wanted = Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
    const found = await rollingHoldout(wanted, bars, ats, kept, (name, data) => state.running === running && name === "progress" && showProgress(data), running.signal);
    if (state.running !== running) return;
    state.rolled = found;
    showRolled();
    node("rolling").scrollIntoView({ block: "nearest" });
  });
}

function showRolled() {
  const [first, last] = timeLabels([state.rolled.first, state.rolled.last]);
  showRolling(state.rolled, fill, `${first} – ${last}`);
}

// Bars are drawn as they come.
function told(name, data) {
  if (name === "queued") state.partial = { times: data.times, forecast: [], samples: [] };
  else if (name === "progress") showProgress(data);
  else if (name === "bar") {
    state.partial.forecast.push(...data.rows);
    cancelAnimationFrame(state.frame);
    state.frame = requestAnimationFrame(redraw);
  }
}

function showProgress(data) {
  node("progress-row").hidden = false;
  canStart(false);
  const bar = node("progress");
  if (!data || !data.done) bar.removeAttribute("value");
  else bar.value = data.done / data.total;
  node("progress-label").textContent = node("several-progress").textContent = data?.done ? t("step", { done: count(data.done), total: count(data.total) }) : t("waitingTurn");
}

function drawn() {
  const shown = state.partial?.forecast.length ? state.partial : state.answer;
  if (!shown) return null;
  const of = (feature) => shown.forecast.filter((row) => row.target_name === feature);
  const close = of("close"), volume = of("volume"), prices = ["open", "high", "low", "close"].map((name) => [name, of(name)]);
  return {
    times: shown.times ?? close.map((row) => row.timestamp),
    levels: Object.fromEntries(LEVELS.map((level) => [String(level), close.map((row) => row[String(level)])])),
    candles: close.map((_, step) => Object.fromEntries(prices.map(([name, rows]) => [name, rows[step]?.["0.5"]]))).filter((bar) => bar.low !== undefined),
    volume: volume.length ? volume.map((row) => row.mean) : null,
    samples: shown.samples,
  };
}

function redraw() {
  if (!state.source?.answer.ok) return;
  const options = viewOptions();
  draw(state.source.answer, state.now, drawn(), options, state.pins);
  node("legend-truth").hidden = !(options.truth && state.now < state.source.answer.bars.timestamps.length);
}

function viewOptions() {
  return {
    paths: node("show-paths").checked, truth: node("show-truth").checked, scale: node("scale").value, shape: node("shape").value,
    horizon: Number(node("horizon").value) || 24,
    averages: [...node("averages").value.matchAll(/\d+/g)].map(Number).filter((period) => period > 1 && period < state.now).slice(0, 4),
  };
}

function passOn() {
  const { source: { answer }, now, pins } = state;
  const shown = { title: pictureTitle(), sentence: t("advice"), how: node("how").textContent, decimals: decimalsOf(answer.bars), drawn: [{ bars: answer.bars }, now, drawn(), viewOptions(), pins] };
  return saveHtml(`${baseName()}-forecast`, shown, [node("compare"), node("figures"), node("score"), node("table").parentElement]);
}

// ---- forecasts that are kept to compare with

const closeRows = () => state.answer.forecast.filter((row) => row.target_name === "close");
const optionsOf = ({ bars: _, ...options }) => options;

function putPins(pins) {
  state.pins = pins;
  showPins(pins, (i) => putPins(pins.filter((_, at) => at !== i)));
  node("unpin-all").hidden = !pins.length;
  redraw();
}

const addPin = (pin) => putPins(withPin(state.pins, pin));

function showVaryCount() {
  node("vary-count").parentElement.hidden = node("vary-what").value === "models";
}

async function runVary() {
  if (!state.source?.answer.ok) return;
  hideAlert();
  const { bars, tz } = state.source.answer, { limits, models } = state.service, what = node("vary-what").value;
  let asked, number;
  try {
    asked = settings();
    number = numberIn("vary-count", 2, MOST_PINS, t("varyCount")) ?? 4;
    const fitting = cutOffs(Math.min(asked.bars, state.now + asked.horizon), asked.horizon, number, LEAST).length;
    if (what === "cutoffs" && fitting < 2) throw new Problem({ detail: t("tooFewCuts", { count: count(fitting), horizon: count(asked.horizon) }) });
  } catch (problem) {
    return failed(problem, null);
  }
  const context = Math.min(limits.lookback, models.find(({ name }) => name === asked.model).context);
  const of = { bars, tz, now: state.now, asked: optionsOf(asked), models, context, least: LEAST, levels: LEVELS };
  remember();
  await during(runVary, (running) => vary(what, number, of, (pin) => state.running === running && addPin(pin), (name, data) => state.running === running && name === "progress" && showProgress(data), running.signal));
}

// ---- several symbols side by side

function smallView() {
  const { source, now } = state, { timestamps } = source.answer.bars;
  return { time: now < timestamps.length ? timestamps[now - 1] : null, scale: node("scale").value, truth: node("show-truth").checked, horizon: Number(node("horizon").value) || 24, least: LEAST };
}

async function showSeveral() {
  const { source } = state;
  node("several-show").disabled = true;
  try {
    await several.show(source, smallView);
    if (state.source === source) node("several").scrollIntoView({ block: "start" });
  } catch (error) {
    if (state.source === source) failed(error, showSeveral);
  } finally {
    several.tell();
  }
}

async function runSeveral() {
  hideAlert();
  const asked = orShown(settings);
  if (!asked) return;
  const { limits, models } = state.service, context = Math.min(limits.lookback, models.find(({ name }) => name === asked.model).context);
  remember();
  await during(runSeveral, (running) => several.forecastAll(optionsOf(asked), LEVELS, context, smallView, (name, data) => state.running === running && name === "progress" && showProgress(data), running.signal), node("several"));
}

// Of what, by what, from when: for tables and pictures that leave the page.
function aboutAnswer() {
  const { source, answer } = state;
  return { symbol: source.answer.symbol ?? source.answer.name, model: answer.model, seed: answer.seed, calibration: answer.calibration ?? "none", forecast_from: answer.last, note: t("advice") };
}

function pictureTitle() {
  const { symbol, model, seed, forecast_from: from } = aboutAnswer();
  return t("pngTitle", { name: symbol, model, seed, time: timeLabels([from])[0] });
}

function showAnswer() {
  node("results").hidden = false;
  node("pin").disabled = false;
  const { calibration } = state.answer, own = state.service.models.find(({ name }) => name === state.answer.model).calibration;
  node("how").textContent = t(calibration ? "isCalibrated" : own && state.asked.calibration === "auto" ? "isDrawnOther" : "isDrawn", { name: calibration });
  showFigures(state.answer);
  showScore(state.answer);
  const rows = state.answer.forecast.filter((row) => row.target_name === "close");
  showTable(rows, state.source.answer.bars.close.slice(state.now, state.now + rows.length));
  chooseRecipe(state.recipe);
}

// ---- the same elsewhere

function chooseRecipe(name) {
  state.recipe = name;
  for (const tab of document.querySelectorAll("[role=tab]")) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  node("recipe").setAttribute("aria-labelledby", `tab-${name}`);
  const { source, asked, answer } = state;
  const skipped = source.answer.rows - source.answer.bars.timestamps.length; // of a long file only the latest bars are here
  const told = {
    ...asked, ...source.fields, symbol: source.answer.symbols.length > 1 ? source.answer.symbol : null,
    name: source.file?.name, sample: source.sample, bars: source.answer.rows, now: state.now + skipped,
    lookback: answer.lookback, temperature: answer.temperature, topP: answer.top_p ?? "None",
    asked: { temperature: asked.temperature !== null, topP: asked.top_p !== null }, token: sessionStorage.getItem("kronos-token") !== null,
  };
  node("recipe-text").textContent = { python, command, curl }[name](told);
}

async function copyRecipe() {
  const text = node("recipe-text").textContent;
  if (navigator.clipboard) await navigator.clipboard.writeText(text);
  else { // without https from another machine there is no clipboard, but a selection can be copied
    getSelection().selectAllChildren(node("recipe-text"));
    document.execCommand("copy");
  }
  node("copy").textContent = t("copied");
  setTimeout(() => (node("copy").textContent = t("copy")), 1500);
}

// ---- when something is wrong

function hideAlert() {
  state.watch?.abort();
  state.again = null;
  node("alert").hidden = true;
}

function askForToken() {
  hideAlert();
  node("token").value = "";
  node("token-open").hidden = false;
  if (!node("token-dialog").open) node("token-dialog").showModal();
}

function complain(text, again, label = "retry") {
  node("alert-text").textContent = text;
  node("alert").hidden = false;
  node("alert-retry").hidden = !again;
  node("alert-retry").textContent = t(label);
  state.again = again;
}

function failed(error, again) {
  if (error.status === 401) {
    node("token-wrong").hidden = !sessionStorage.getItem("kronos-token");
    return askForToken();
  }
  const lost = error instanceof Gone;
  const text = lost ? [error.message ? t(error.message) : "", t("gone")].filter(Boolean).join(" ")
    : error instanceof Problem ? problemText(error) : t("failed", { detail: error.message });
  complain(text, again && (lost || error.status === 503 || error.status === 504) ? again : null);
  if (!(error instanceof Problem) && !lost) console.error(error);
  if (!lost) return;
  state.watch?.abort();
  state.watch = new AbortController();
  const { signal } = state.watch;
  whenBack(signal).then((back) => { if (back && !signal.aborted) node("alert-text").textContent = t("back"); });
}

start();
