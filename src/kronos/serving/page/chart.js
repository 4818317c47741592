// The chart: candles and volume, the forecast over them, what happened, a crosshair. Drawn by TradingView Lightweight Charts.
import { FanSeries, NowLine } from "./fan.js";
import { changeOf, percent, price, t, volume } from "./i18n.js";
import { CandlestickSeries, createChart, HistogramSeries, LineSeries, LineStyle, PriceScaleMode } from "./lightweight-charts.js";
import { barTimes, labelsOf, spanStart, tickLabel } from "./scale.js";

const node = () => document.getElementById("chart");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const AVERAGES = ["#c586c0", "#d7a23f", "#4f9fe0", "#5fb36b"]; // one after the other, as periods are named
const PINS = ["199, 120, 221", "224, 150, 60", "90, 180, 120", "220, 100, 110", "64, 180, 196", "200, 180, 60", "150, 140, 235", "170, 130, 100"];
const NEAR_MOUSE = 6, NEAR_FINGER = 18; // pixels from the line at "now" that take hold of it

let chart = null, series = null, nowLine = null;
let view = null; // what is drawn: data, now, forecast, times, labels, the bar of the crosshair
let wired = { moveNow: () => {} };

export const onNow = (moveNow) => (wired = { moveNow });

// data: {bars}; now: bars known; forecast: null, or {times, levels: {q: [..]}, candles, volume, samples}, of which the first bars
// may be all there is so far; pins: other forecasts to compare with, {now, times, levels}
export function draw(data, now, forecast, options, pins = []) {
  chart ??= make();
  const fresh = view?.data !== data, range = fresh ? null : chart.timeScale().getVisibleLogicalRange();
  const scale = timesOf(data, now, forecast?.times ?? [], options.truth, pins);
  const before = view;
  view = { data, now, forecast, options, pins, ...scale, cursor: fresh ? null : before.cursor };
  style();
  drawBars(before);
  drawForecast();
  drawPins();
  nowLine.put(now, css("--accent"));
  if (range) keepView(range, before);
  else reset();
  readout(view.cursor);
  report();
}

// Times and labels of all bars on the scale; they change with the data, "now" and the horizon only.
let kept = {};
function timesOf(data, now, future, truth, pins) {
  const { timestamps } = data.bars, known = truth ? timestamps.length : now;
  const longest = pins.reduce((most, pin) => (pin.now + pin.times.length > (most ? most.now + most.times.length : 0) ? pin : most), null);
  const key = [now, truth, future.length, future.at(-1), longest?.now, longest?.times.length].join();
  if (kept.data === data && kept.key === key) return kept.scale;
  const all = future.length ? [...timestamps.slice(0, now), ...future, ...(truth ? timestamps.slice(now + future.length) : [])] : timestamps.slice(0, known);
  if (longest) { // a forecast that was kept may reach beyond: over hidden bars, then over times to come
    all.push(...timestamps.slice(all.length, longest.now));
    all.push(...longest.times.slice(all.length - longest.now));
  }
  const times = barTimes(all);
  const scale = { stamps: all, times, labels: labelsOf(all), index: new Map(times.map((time, i) => [time, i])), last: truth ? timestamps.length : now };
  kept = { data, key, scale };
  return scale;
}

function make() {
  const made = createChart(node(), {
    autoSize: true,
    layout: { attributionLogo: false, panes: { enableResize: true } }, // its style element is not allowed by the policy: the footer names TradingView
    handleScroll: { vertTouchDrag: false }, // a finger that moves up and down scrolls the page
    timeScale: {
      minBarSpacing: 0.005, fixLeftEdge: true, rightOffset: 2, enableConflation: true, borderVisible: false, tickMarkMaxCharacterLength: 6,
      tickMarkFormatter: (time, kind) => (view?.index.has(time) ? tickLabel(view.stamps[view.index.get(time)], kind) : ""),
    },
    rightPriceScale: { borderVisible: false },
    localization: { timeFormatter: (time) => view?.labels[view.index.get(time)] ?? "" },
    crosshair: { mode: 0 },
  });
  const prices = { type: "custom", formatter: axisPrice, minMove: 1e-12 };
  const quiet = { priceLineVisible: false, lastValueVisible: false, priceFormat: prices };
  series = {
    candles: made.addSeries(CandlestickSeries, { priceFormat: prices, priceLineStyle: LineStyle.Dotted }),
    truth: made.addSeries(CandlestickSeries, quiet),
    fan: made.addCustomSeries(new FanSeries(), quiet),
    forecast: made.addSeries(CandlestickSeries, quiet),
    volume: made.addSeries(HistogramSeries, {
      priceLineVisible: false, lastValueVisible: false, priceFormat: { type: "custom", formatter: volume, minMove: 1e-9 },
    }, 1),
    averages: [], pins: [], quiet,
  };
  nowLine = new NowLine();
  series.candles.attachPrimitive(nowLine);
  made.panes()[0].setStretchFactor(5);
  made.panes()[1].setStretchFactor(1);
  made.subscribeCrosshairMove(({ point, logical }) => readoutSoon(point && logical !== undefined ? logical : view?.cursor ?? null));
  made.subscribeClick(({ logical }) => { if (logical !== undefined) point(logical); });
  made.subscribeDblClick(reset);
  node().addEventListener("keydown", onKey);
  for (const kind of ["mousedown", "touchstart"]) node().addEventListener(kind, takeNow, { capture: true, passive: false });
  node().addEventListener("mousemove", (event) => node().classList.toggle("at-now", isNearNow(event.clientX, NEAR_MOUSE)), true);
  return made;
}

// A price as it is drawn: itself, or its change since "now" in per cent, so that the axis has round marks.
const scaled = (value) => (view.options.scale === "percent" ? 100 * (value / view.data.bars.close[view.now - 1] - 1) : value);
const axisPrice = (value) => (view?.options.scale === "percent" ? percent(value / 100, 2, true) : price(value));

function style() {
  const [bg, line, text, muted, up, down, truth, fan] = ["bg", "line", "text", "muted", "up", "down", "truth", "fan"].map((name) => css(`--${name}`));
  const { options } = view;
  const intraday = view.labels.some((label) => label.length > 10);
  chart.applyOptions({
    layout: { background: { color: bg }, textColor: muted, fontSize: 12, fontFamily: getComputedStyle(document.body).fontFamily, panes: { separatorColor: line } },
    grid: { vertLines: { color: `${line}66` }, horzLines: { color: `${line}66` } },
    crosshair: { vertLine: { color: muted, labelBackgroundColor: muted }, horzLine: { color: muted, labelBackgroundColor: muted } },
    timeScale: { timeVisible: intraday, secondsVisible: view.labels.some((label) => label.length > 16) },
  });
  chart.priceScale("right").applyOptions({ mode: options.scale === "log" ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal });
  const filled = { upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down };
  series.candles.applyOptions(filled);
  const hollow = view.forecast ? [truth, truth] : [`${up}88`, `${down}88`];
  series.truth.applyOptions({
    upColor: "transparent", downColor: "transparent", borderUpColor: hollow[0], borderDownColor: hollow[1], wickUpColor: hollow[0], wickDownColor: hollow[1],
  });
  const rgb = `rgb(${fan})`;
  series.forecast.applyOptions({ upColor: "transparent", downColor: rgb, borderUpColor: rgb, borderDownColor: rgb, wickUpColor: rgb, wickDownColor: rgb });
  series.fan.applyOptions({ rgb: fan, paths: options.paths, bands: options.shape !== "candles" });
}

const rowsOf = (from, to) => {
  const { open, high, low, close } = view.data.bars, rows = [];
  for (let i = from; i < to; i++) rows.push({ time: view.times[i], open: scaled(open[i]), high: scaled(high[i]), low: scaled(low[i]), close: scaled(close[i]) });
  return rows;
};

function drawBars(before) {
  const { now, data, options, times, forecast, last } = view;
  const until = Math.min(last, times.length);
  const key = [now, options.truth, options.scale === "percent", times.length, times.at(-1), Boolean(forecast), options.averages, css("--up"), css("--muted")].join();
  if (before?.data === data && before.key === key) { view.key = key; drawVolume(); return; }
  view.key = key;
  series.candles.setData(rowsOf(0, now));
  series.truth.setData(rowsOf(now, until));
  drawVolume();
  drawAverages(until);
}

function drawVolume() {
  const { data: { bars }, now, times, last, forecast } = view;
  const key = `${view.key}:${forecast?.volume?.length ?? 0}`;
  if (series.volumeKey === key && series.volumeData === view.data) return;
  Object.assign(series, { volumeKey: key, volumeData: view.data });
  if (!bars.volume) return series.volume.setData([]);
  const [up, down, muted] = [`${css("--up")}99`, `${css("--down")}99`, `${css("--muted")}66`], fan = `rgba(${css("--fan")}, 0.5)`;
  const rows = [];
  for (let i = 0; i < times.length; i++) {
    const step = i - now;
    if (step < 0) rows.push({ time: times[i], value: bars.volume[i], color: bars.close[i] >= bars.open[i] ? up : down });
    else if (forecast?.volume && step < forecast.volume.length) rows.push({ time: times[i], value: forecast.volume[step], color: fan });
    else if (i < last) rows.push({ time: times[i], value: bars.volume[i], color: muted });
  }
  series.volume.setData(rows);
}

// Means of the last closes, of known bars only.
function drawAverages() {
  for (const made of series.averages) chart.removeSeries(made);
  const { close, volume: volumes } = view.data.bars, { options, now } = view;
  const add = (values, period, color, pane) => {
    const made = chart.addSeries(LineSeries, { ...series.quiet, ...(pane ? { priceFormat: series.volume.options().priceFormat } : {}), color, lineWidth: 1, crosshairMarkerVisible: false }, pane);
    const rows = [];
    let sum = 0;
    for (let i = 0; i < now; i++) {
      sum += values[i] - (i >= period ? values[i - period] : 0);
      if (i >= period - 1) rows.push({ time: view.times[i], value: pane ? sum / period : scaled(sum / period) });
    }
    made.setData(rows);
    return made;
  };
  series.averages = options.averages.map((period, i) => add(close, period, AVERAGES[i % AVERAGES.length], 0));
  if (volumes && options.averages.length) series.averages.push(add(volumes, options.averages[0], AVERAGES[0], 1));
}

const LEVEL_ORDER = (levels) => Object.keys(levels).sort((a, b) => a - b);

// It opens from the last close that was seen.
function fanItems(forecast, now, paths) {
  const close = scaled(view.data.bars.close[now - 1]), names = LEVEL_ORDER(forecast.levels), samples = paths ? forecast.samples ?? [] : [];
  const items = [{ time: view.times[now - 1], levels: names.map(() => close), samples: samples.map(() => close) }];
  const count = forecast.levels[names[0]].length;
  for (let step = 0; now + step < view.times.length && step < (forecast.times?.length ?? count); step++) {
    const time = view.times[now + step];
    items.push(step < count ? { time, levels: names.map((name) => scaled(forecast.levels[name][step])), samples: samples.map((path) => scaled(path[step])) } : { time });
  }
  return items;
}

function drawForecast() {
  const { forecast, now, options, times } = view;
  series.fan.setData(forecast ? fanItems(forecast, now, options.paths) : []);
  const candles = forecast && options.shape === "candles" ? forecast.candles : [];
  const row = ({ open, high, low, close }, step) => ({ time: times[now + step], open: scaled(open), high: scaled(high), low: scaled(low), close: scaled(close) });
  series.forecast.setData(candles.map(row).filter((bar) => bar.time !== undefined));
}

// Each with its letter and its last median on the price axis; bands of many would hide each other.
function drawPins() {
  for (const made of series.pins) chart.removeSeries(made);
  series.pins = view.pins.map((pin, i) => {
    const made = chart.addCustomSeries(new FanSeries(), {
      ...series.quiet, rgb: PINS[i % PINS.length], color: pinColour(i), paths: false, bands: true, shade: 0.3 / Math.sqrt(view.pins.length),
      lastValueVisible: true, title: pinLetter(i),
    });
    made.setData(pin.now <= view.times.length ? fanItems({ levels: pin.levels }, pin.now, false) : []);
    return made;
  });
}

export const pinColour = (i) => `rgb(${PINS[i % PINS.length]})`;
export const pinLetter = (i) => String.fromCharCode(65 + i);
export const averageColour = (i) => AVERAGES[i % AVERAGES.length];

// ---- moving and zooming

function show(from, to) {
  chart.timeScale().setVisibleLogicalRange({ from, to });
  chart.priceScale("right").applyOptions({ autoScale: true });
}

const MOST_AHEAD = 24; // bars of free space for a forecast that is not there yet
const ahead = () => view.forecast?.times.length || Math.min(view.options.horizon, MOST_AHEAD);

// The same bars stay in sight; a forecast that begins is moved into it to its end.
function keepView({ from, to }, before) {
  chart.timeScale().setVisibleLogicalRange({ from, to });
  const end = view.now + ahead() + 1, begins = view.forecast && !before.forecast;
  if (!begins || (view.now > from && to >= end)) return;
  if (view.now < from || view.now > to || end - view.now > (to - from) / 2) reset();
  else chart.timeScale().setVisibleLogicalRange({ from: from + end - to, to: end });
}

// As it was at first: the last bars before now and the forecast.
export function reset() {
  if (!view) return;
  const wide = node().clientWidth < 600 ? 60 : 130, horizon = ahead();
  show(Math.max(0, view.now - Math.max(wide, 3 * horizon)), view.now + horizon + 1);
}

export function showSpan(span) {
  if (!view) return;
  show(spanStart(view.stamps, view.now - 1, span), span === "all" ? view.times.length : view.now + ahead() + 1);
}

function onKey(event) {
  const { from, to } = chart.timeScale().getVisibleLogicalRange(), centre = view.cursor ?? (from + to) / 2;
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity };
  if (event.key in steps) {
    point((view.cursor ?? view.now - 1) + steps[event.key]);
    const shift = view.cursor < from ? view.cursor - from - 2 : view.cursor > to ? view.cursor - to + 2 : 0;
    if (shift) chart.timeScale().setVisibleLogicalRange({ from: from + shift, to: to + shift });
  } else if (event.key === "+" || event.key === "=" || event.key === "-") {
    const factor = event.key === "-" ? 1.25 : 0.8;
    chart.timeScale().setVisibleLogicalRange({ from: centre - (centre - from) * factor, to: centre + (to - centre) * factor });
  } else if (event.key === "Escape" && view.cursor !== null) {
    view.cursor = null;
    chart.clearCrosshairPosition();
    readout(null);
  } else if (event.key === "0") reset();
  else return;
  event.preventDefault();
}

// Puts the crosshair on a bar, by a key or a tap.
function point(bar) {
  view.cursor = Math.max(0, Math.min(view.times.length - 1, bar));
  const step = view.cursor - view.now, known = view.data.bars.close[view.cursor];
  const middle = step < 0 ? known : view.forecast?.levels["0.5"][step] ?? known;
  if (middle !== undefined) chart.setCrosshairPosition(scaled(middle), view.times[view.cursor], series.candles);
  readout(view.cursor);
}

// ---- "now" is dragged

function isNearNow(clientX, near) {
  if (!view || nowLine.x === null) return false;
  return Math.abs(clientX - node().getBoundingClientRect().left - nowLine.x) <= near;
}

function takeNow(event) {
  const touch = event.touches?.length === 1 ? event.touches[0] : null;
  if (event.touches ? !touch || !isNearNow(touch.clientX, NEAR_FINGER) : event.button !== 0 || !isNearNow(event.clientX, NEAR_MOUSE)) return;
  event.stopImmediatePropagation();
  event.preventDefault();
  const moved = (next) => {
    const x = (next.touches?.[0] ?? next).clientX - node().getBoundingClientRect().left;
    wired.moveNow(Math.round(chart.timeScale().coordinateToLogical(x) + 0.5));
  };
  const [move, end] = touch ? ["touchmove", "touchend"] : ["mousemove", "mouseup"];
  addEventListener(move, moved);
  addEventListener(end, () => removeEventListener(move, moved), { once: true });
}

// ---- words

let waiting = null; // the bar that is read out with the next frame: words are laid out anew, so not more often
function readoutSoon(index) {
  if (waiting === null) requestAnimationFrame(() => { const next = waiting; waiting = null; readout(next.index); });
  waiting = { index };
}

// One bar in words above the chart; without a bar the last one that is known.
function readout(index) {
  if (!view) return;
  const { now, last, forecast, labels, data: { bars } } = view;
  const bar = index === null || index === undefined || index < 0 || index >= labels.length ? now - 1 : Math.round(index), step = bar - now;
  const parts = [["", labels[bar]]];
  if (bar < Math.min(last, bars.close.length)) {
    for (const name of ["open", "high", "low", "close"]) parts.push([t(`short_${name}`), price(bars[name][bar])]);
    if (bar > 0) parts.push(["", changeOf(bars.close[bar], bars.close[bar - 1]), bars.close[bar] >= bars.close[bar - 1] ? "rise" : "fall"]);
    if (bars.volume) parts.push([t("short_volume"), volume(bars.volume[bar])]);
  }
  if (forecast && step >= 0 && step < forecast.levels["0.5"].length) {
    const q = (level) => price(forecast.levels[level][step]);
    parts.push([t("median"), `${q("0.5")} (${changeOf(forecast.levels["0.5"][step], bars.close[now - 1])})`, "f"]);
    parts.push(["50 %", `${q("0.25")} – ${q("0.75")}`, "f"], ["80 %", `${q("0.1")} – ${q("0.9")}`, "f"]);
  }
  const box = document.getElementById("readout"), said = parts.join("|");
  if (box.said === said && box.childElementCount) return;
  box.said = said;
  box.replaceChildren(...parts.map((part) => figure(...part)));
}

function figure(name, value, kind = "") {
  const span = document.createElement("span"), strong = document.createElement("b");
  span.className = kind;
  strong.textContent = value;
  span.append(name ? `${name} ` : "", strong, " ");
  return span;
}

// What is drawn, for tests and for those who look into the page.
function report() {
  node().drawn = {
    candles: series.candles.data().length, truth: series.truth.data().length, volume: series.volume.data().length,
    fan: series.fan.data().filter((item) => item.levels).length, forecast: series.forecast.data().length,
    paths: view.options.paths && view.forecast ? view.forecast.samples.length : 0, averages: series.averages.length, pins: series.pins.length,
    scale: view.options.scale, last: series.candles.data().at(-1)?.close,
  };
  node().nowX = () => nowLine.x;
  node().range = () => chart.timeScale().getVisibleLogicalRange();
}

// ---- the picture, with what it is of and the sentence on uncertainty

// lines: of what is kept to compare, [text, colour]
export function savePng(name, title, sentence, lines = []) {
  const shot = chart.takeScreenshot(true), ratio = devicePixelRatio || 1, high = 34 * ratio, top = high + 20 * ratio * lines.length;
  const canvas = Object.assign(document.createElement("canvas"), { width: shot.width, height: shot.height + top + high });
  const context = canvas.getContext("2d"), family = getComputedStyle(document.body).fontFamily;
  context.fillStyle = css("--bg");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(shot, 0, top);
  context.textBaseline = "middle";
  context.fillStyle = css("--text");
  context.font = `600 ${14 * ratio}px ${family}`;
  context.fillText(title, 12 * ratio, high / 2, canvas.width - 24 * ratio);
  context.font = `${12 * ratio}px ${family}`;
  for (const [i, [text, colour]] of lines.entries()) {
    context.fillStyle = colour;
    context.fillText(text, 12 * ratio, high + 20 * ratio * (i + 0.3), canvas.width - 24 * ratio);
  }
  context.fillStyle = css("--muted");
  context.fillText(sentence, 12 * ratio, canvas.height - high / 2, canvas.width - 24 * ratio);
  canvas.toBlob((blob) => download(blob, `${name}.png`), "image/png");
}

export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
