// Several symbols of one file side by side: a small chart each, one forecast for all of them.
import { streamBatch } from "./api.js";
import { read } from "./data.js";
import { count, decimal, faultKind, percent, price, roleName, t } from "./i18n.js";
import { problemText } from "./problems.js";
import { decimalsOf } from "./scale.js";
import { SmallChart } from "./small_chart.js";

const node = (id) => document.getElementById(id);
export const LEAST = 2, MOST = 6;
const LISTED = 300; // names in the list; others are found by typing
let cards = [];
let chosen = [];

export const cardsShown = () => cards.length > 0;

// ---- which symbols

// The list of a file's symbols to choose from; the present one and those after it are chosen at first.
export function offerSymbols({ symbols, symbol }) {
  clear();
  node("several-row").hidden = symbols.length < LEAST;
  const at = Math.max(0, Math.min(symbols.indexOf(symbol), symbols.length - LEAST));
  chosen = symbols.slice(at, at + Math.min(4, symbols.length));
  node("several-find").parentElement.hidden = symbols.length <= 12;
  node("several-find").value = "";
  node("several-find").oninput = () => list(symbols);
  list(symbols);
}

function list(symbols) {
  const wanted = node("several-find").value.trim().toLowerCase();
  const found = symbols.filter((name) => chosen.includes(name) || name.toLowerCase().includes(wanted)).slice(0, LISTED);
  node("several-list").replaceChildren(...found.map((name) => {
    const label = document.createElement("label"), box = Object.assign(document.createElement("input"), { type: "checkbox", checked: chosen.includes(name), value: name });
    label.className = "check";
    box.addEventListener("change", () => {
      chosen = box.checked ? [...chosen, name] : chosen.filter((other) => other !== name);
      tell();
    });
    label.append(box, ` ${name}`);
    return label;
  }));
  tell();
}

// As many as may be shown can be ticked, no more.
export function tell() {
  node("several-count").textContent = t("severalCount", { count: count(chosen.length), least: LEAST, most: MOST });
  node("several-show").disabled = chosen.length < LEAST;
  for (const box of node("several-list").querySelectorAll("input")) box.disabled = !box.checked && chosen.length >= MOST;
}

export function clear() {
  for (const card of cards) card.chart.remove();
  cards = [];
  node("several-cards").replaceChildren();
  node("several").hidden = true;
}

// ---- their bars

// Reads the chosen symbols of a file one after the other and shows a card each. view: () => {time, scale, truth, horizon, least}
export async function show(source, view) {
  clear();
  node("several").hidden = false;
  const names = [...chosen];
  for (const name of names) {
    const found = source.answer.symbol === name ? source : await read({ ...source, fields: { ...source.fields, symbol: name } });
    if (node("several").hidden) return; // another file was opened meanwhile
    cards.push(cardOf(name, found.answer));
    drawCard(cards.at(-1), view());
  }
}

function cardOf(symbol, answer) {
  const box = document.createElement("article"), title = document.createElement("h3"), holder = document.createElement("div");
  const said = document.createElement("p"), figures = document.createElement("dl"), problem = document.createElement("p");
  title.textContent = symbol;
  holder.className = "small-chart";
  said.className = "small muted";
  figures.className = "figures";
  problem.className = "fault error";
  problem.hidden = true;
  box.append(title, holder, said, problem, figures);
  node("several-cards").append(box);
  const fault = answer.ok ? "" : answer.faults.map(({ kind, columns }) => `${faultKind(kind)} ${columns.map(roleName).join(", ")}`).join("; ");
  return { symbol, answer, fault, holder, figures, problem, chart: new SmallChart(holder, said), decimals: answer.ok ? decimalsOf(answer.bars) : 2, found: null };
}

// Draws all cards again; `fresh` drops their forecasts, since "now" or the settings have moved.
export function redrawCards(view, fresh = false) {
  for (const card of cards) {
    if (fresh) card.found = null;
    drawCard(card, view);
  }
}

function drawCard(card, view) {
  const { answer, found } = card, now = found?.now ?? knownAt(answer, view.time);
  card.holder.setAttribute("role", "img");
  card.holder.setAttribute("aria-label", t("severalChart", { symbol: card.symbol }));
  const few = answer.ok && now < view.least;
  card.problem.textContent = card.fault || (few ? t("tooFew") : card.error ?? "");
  card.problem.hidden = !card.problem.textContent;
  card.figures.hidden = !found;
  if (!answer.ok || now < 2) return;
  card.chart.draw(answer.bars, now, found?.forecast ?? null, { ...view, decimals: card.decimals });
  if (found) fillFigures(card);
}

// Bars that are not after a time; all where there is none.
function knownAt({ ok, bars }, time) {
  if (!ok) return 0;
  if (time === null) return bars.timestamps.length;
  let at = bars.timestamps.length;
  while (at > 0 && bars.timestamps[at - 1].slice(0, 19) > time.slice(0, 19)) at--;
  return at;
}

function fillFigures({ figures, found: { summary: s, score }, decimals }) {
  const money = (value) => price(value, decimals), sign = s.expected_return > 0 ? "rise" : s.expected_return < 0 ? "fall" : "";
  const rows = [[t("probUp"), percent(s.prob_up, 0)], [t("expectedReturn"), percent(s.expected_return, 2, true), sign], [t("interval80"), `${money(s.close_q10)} – ${money(s.close_q90)}`]];
  if (score) {
    rows.push([t("maeRatio"), decimal(score.mae / score.mae_last_price), score.mae < score.mae_last_price ? "good" : "poor"]);
    rows.push([t("inside"), t("countOf", { count: count(score.inside_80), total: count(score.bars) })]);
  }
  figures.replaceChildren(...rows.map(([name, value, kind = ""]) => {
    const pair = document.createElement("div"), term = document.createElement("dt"), figure = document.createElement("dd");
    term.textContent = name;
    figure.textContent = value;
    figure.className = kind;
    pair.append(term, figure);
    return pair;
  }));
}

// ---- the forecast of all

// asked: the page's settings; levels: quantiles; context: bars that a request needs at most; view: as for `show`.
export async function forecastAll(asked, levels, context, view, told, signal) {
  redrawCards(view(), true);
  const usable = cards.map((card) => ({ card, now: knownAt(card.answer, view().time) })).filter(({ card, now }) => card.answer.ok && now >= view().least);
  if (!usable.length) return;
  const held = Math.min(asked.horizon, ...usable.map(({ card, now }) => card.answer.bars.timestamps.length - now));
  const back = asked.lookback ?? context;
  const series = usable.map(({ card, now }) => {
    const { bars, tz } = card.answer;
    const cut = Object.fromEntries(Object.entries(bars).map(([name, values]) => [name, values.slice(Math.max(0, now - back), now + held)]));
    return { id: card.symbol, bars: cut, ...(asked.lookback ? { lookback: Math.min(asked.lookback, now) } : {}), ...(tz && !/^UTC[+-]/.test(tz) ? { tz } : {}) };
  });
  const { lookback: _, ...options } = asked;
  const body = { ...options, holdout: held, target: "close", samples: 0, quantiles: levels, series };
  const answer = await streamBatch(Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null)), told, signal);
  for (const { card, now } of usable) {
    const about = answer.series.find(({ id }) => id === card.symbol), rows = answer.forecast.filter(({ id }) => id === card.symbol);
    const error = answer.errors.find(({ id }) => id === card.symbol);
    card.error = error ? problemText(error) : null;
    card.found = about ? { now, summary: about.summary, score: about.score, forecast: { times: rows.map((row) => row.timestamp), levels: Object.fromEntries(levels.map((level) => [String(level), rows.map((row) => row[String(level)])])) } } : null;
    drawCard(card, view());
  }
}
