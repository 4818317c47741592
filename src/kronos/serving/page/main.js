// The page: what is chosen and known, and what happens when.
import { getJson, Gone, Problem, setToken, streamForecast, whenBack } from "./api.js";
import { draw, resize, savePng } from "./chart.js";
import { read, showFacts, wireInputs } from "./data.js";
import { count, currentLanguage, setLanguage, t, timeLabels } from "./i18n.js";
import { command, curl, python } from "./recipes.js";
import { saveCsv, showFigures, showScore, showTable } from "./results.js";

const node = (id) => document.getElementById(id);
const LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9];
const LEAST = 32; // bars before "now" that a forecast can start from

const state = { service: null, source: null, now: 0, answer: null, asked: null, running: null, again: null, recipe: "python" };

// ---- start

function start() {
  applyPreferences();
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
  showAdvice();
  document.documentElement.dataset.ready = "yes";
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
}

// ---- wiring

function wire() {
  wireInputs(open);
  node("form").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  node("stop").addEventListener("click", () => state.running?.abort());
  node("model").addEventListener("change", showAdvice);
  node("symbol").addEventListener("change", () => open({ ...state.source, fields: { ...state.source.fields, symbol: node("symbol").value } }));
  node("read-again").addEventListener("click", () => state.chosen?.file &&
    open({ ...state.chosen, fields: { ...state.chosen.fields, tz: node("tz").value.trim(), columns: node("columns").value.trim() } }));
  for (const id of ["show-paths", "log-scale", "show-truth"]) node(id).addEventListener("change", redraw);
  node("now").addEventListener("input", () => moveNow(Number(node("now").value)));
  node("now-end").addEventListener("click", () => moveNow(state.source.answer.bars.timestamps.length));
  node("save-csv").addEventListener("click", () => saveCsv(state.answer.forecast, `${baseName()}-forecast.csv`));
  node("save-png").addEventListener("click", () => savePng(`${baseName()}-forecast`));
  node("copy").addEventListener("click", copyRecipe);
  node("alert-close").addEventListener("click", hideAlert);
  node("alert-retry").addEventListener("click", () => { const again = state.again; hideAlert(); again?.(); });
  node("token-form").addEventListener("submit", () => { setToken(node("token").value); meet(); });
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
  addEventListener("resize", resize);
}

function keep(name, value) {
  localStorage.setItem(`kronos-${name}`, value);
  if (name === "theme") document.documentElement.dataset.theme = value;
  if (name === "colours") setColours(value);
  if (name === "language") {
    setLanguage(value);
    showLanguageButton();
    if (state.source) { showSource(); showFacts(state.source, readWith); }
  }
  redraw();
  if (state.answer) showAnswer();
}

const baseName = () => (state.source.sample ?? state.source.file.name).replace(/\.[^.]*$/, "").replace(/[^\w.-]+/g, "_") || "kronos";

// ---- the file

const readWith = (fields) => open({ ...state.source, fields });

async function open(source) {
  state.running?.abort();
  hideAlert();
  const name = source.sample ?? source.file.name;
  state.chosen = source;
  const most = state.service.limits.body;
  if (source.file?.size > most) return failed(new Problem({ detail: t("tooLarge", { most: count(Math.floor(most / 2 ** 20)) }) }), null);
  node("source-name").textContent = t("readingFile", { name });
  try {
    state.source = await read(source);
  } catch (error) {
    showSource();
    return failed(error, () => open(source));
  }
  state.answer = null;
  node("results").hidden = true;
  showSource();
  showFacts(state.source, readWith);
  const { answer } = state.source, bars = answer.ok ? answer.bars.timestamps.length : 0;
  node("run").disabled = !answer.ok;
  for (const id of ["chart", "legend", "now-row"]) node(id).hidden = !answer.ok;
  node("empty").hidden = answer.ok;
  if (!answer.ok) return;
  Object.assign(node("now"), { min: Math.min(LEAST, bars), max: bars });
  state.now = bars;
  node("now").value = bars;
  showNow();
  redraw();
}

function showSource() {
  const { source } = state;
  node("source-name").textContent = source ? source.answer.name + (source.answer.symbols.length ? ` · ${source.answer.symbol}` : "") : "";
  node("source-facts").textContent = source ? `· ${t("bars", { count: count(source.answer.rows) })}` : "";
}

// ---- the slider

let soon = null;
function moveNow(now) {
  if (now === state.now) return;
  const again = state.answer !== null || state.running !== null;
  state.now = now;
  state.answer = null;
  state.partial = null;
  node("now").value = now;
  node("results").hidden = true;
  showNow();
  requestAnimationFrame(redraw);
  clearTimeout(soon);
  if (again) {
    state.running?.abort();
    soon = setTimeout(run, 350);
  }
}

function showNow() {
  const { timestamps } = state.source.answer.bars;
  const [label] = timeLabels([...new Set([timestamps[state.now - 1], ...timestamps.slice(-2)])]);
  const said = t("nowAt", { time: label, at: count(state.now), count: count(timestamps.length) });
  node("now-label").textContent = said;
  node("now").setAttribute("aria-valuetext", said);
}

// ---- the forecast

function settings() {
  const { limits } = state.service, bars = state.source.answer.bars.timestamps.length;
  const number = (id, least, most, name) => {
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
  };
  return {
    horizon: number("horizon", 1, limits.horizon, t("horizon")) ?? 24,
    lookback: number("lookback", 2, Math.min(limits.lookback, state.now), t("lookback")),
    paths: number("paths", 1, limits.paths, t("paths")) ?? 100,
    seed: number("seed", 0, Number.MAX_SAFE_INTEGER, t("seed")) ?? 0,
    temperature: number("temperature", 0, 100, t("temperature")),
    top_p: number("top-p", 0.0001, 1, "top-p"),
    model: node("model").value,
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

async function run() {
  if (!state.source?.answer.ok) return;
  hideAlert();
  let asked;
  try {
    asked = settings();
  } catch (problem) {
    return failed(problem, null);
  }
  state.running?.abort();
  const running = new AbortController();
  state.running = running;
  showProgress(null);
  try {
    const answer = await streamForecast(requestOf(asked), (name, data) => state.running === running && told(name, data), running.signal);
    if (state.running !== running) return;
    state.answer = answer;
    state.partial = null;
    state.asked = asked;
    redraw();
    showAnswer();
  } catch (error) {
    if (error.name !== "AbortError" && state.running === running) failed(error, run);
  } finally {
    if (state.running === running) {
      state.running = null;
      if (state.partial) { state.partial = null; redraw(); }
      node("progress-row").hidden = true;
      node("run").disabled = false;
    }
  }
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
  node("run").disabled = true;
  const bar = node("progress");
  if (!data || !data.done) bar.removeAttribute("value");
  else bar.value = data.done / data.total;
  node("progress-label").textContent = data?.done ? t("step", { done: count(data.done), total: count(data.total) }) : t("waitingTurn");
}

function drawn() {
  const shown = state.partial?.forecast.length ? state.partial : state.answer;
  if (!shown) return null;
  const of = (feature) => shown.forecast.filter((row) => row.target_name === feature);
  const close = of("close"), volume = of("volume");
  return {
    times: shown.times ?? close.map((row) => row.timestamp),
    levels: Object.fromEntries(LEVELS.map((level) => [String(level), close.map((row) => row[String(level)])])),
    volume: volume.length ? volume.map((row) => row.mean) : null,
    samples: shown.samples,
  };
}

function redraw() {
  if (!state.source?.answer.ok) return;
  const options = {
    paths: node("show-paths").checked, log: node("log-scale").checked, truth: node("show-truth").checked,
    horizon: Number(node("horizon").value) || 24,
  };
  draw(state.source.answer, state.now, drawn(), options);
  node("legend-truth").hidden = !(options.truth && state.now < state.source.answer.bars.timestamps.length);
}

function showAnswer() {
  node("results").hidden = false;
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

function failed(error, again) {
  if (error.status === 401) return node("token-dialog").showModal();
  const lost = error instanceof Gone;
  const text = lost ? [error.message ? t(error.message) : "", t("gone")].filter(Boolean).join(" ")
    : error instanceof Problem ? error.detail : t("failed", { detail: error.message });
  node("alert-text").textContent = text;
  node("alert").hidden = false;
  node("alert-retry").hidden = !(again && (lost || error.status === 503 || error.status === 504));
  state.again = again;
  if (!(error instanceof Problem) && !lost) console.error(error);
  if (!lost) return;
  state.watch?.abort();
  state.watch = new AbortController();
  const { signal } = state.watch;
  whenBack(signal).then((back) => { if (back && !signal.aborted) node("alert-text").textContent = t("back"); });
}

start();
