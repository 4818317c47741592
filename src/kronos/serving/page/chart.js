// The chart: candles and volume, the fan over them, what happened, a crosshair. Drawn by plotly.js.
/* global Plotly */
import { price, t, timeLabels, volume } from "./i18n.js";

const DRAWN = 1500; // candles before now that can be scrolled to
const AHEAD = 300; // known bars after now that are drawn at most, where there is no forecast yet
const node = () => document.getElementById("chart");

let view = null; // what is drawn: labels, bars, forecast, the index of the crosshair

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// data: {bars}; now: bars known; forecast: null, or {times, levels: {q: [..]}, volume, samples}, of which the first bars may be
// all there is so far
export function draw(data, now, forecast, options) {
  const first = Math.max(0, now - DRAWN);
  const horizon = forecast ? forecast.times.length : 0;
  const known = data.bars.timestamps.length;
  const last = options.truth ? Math.min(known, now + (horizon || AHEAD)) : now;
  const times = data.bars.timestamps.slice(first, now).concat(
    horizon ? forecast.times : data.bars.timestamps.slice(now, last));
  const labels = timeLabels(times);
  const same = view && view.data === data && view.now === now && view.horizon === horizon;
  const range = same && view.range ? view.range : initialRange(now - first, labels.length, horizon || options.horizon);
  view = { data, now, forecast, horizon, first, last, labels, options, range, cursor: null };
  const colours = palette();
  const traces = [
    ...candles(colours),
    ...(forecast ? fan(colours) : []),
    ...truth(colours),
    ...volumes(colours),
  ];
  Plotly.react(node(), traces, layout(colours), CONFIG);
  fitPrices();
  listen();
  readout(null);
}

const CONFIG = {
  responsive: true, displaylogo: false, scrollZoom: true, displayModeBar: false, doubleClick: false, showTips: false,
  showSendToCloud: false, plotlyServerURL: "",
};

function initialRange(split, total, horizon) {
  const wide = node().clientWidth < 600 ? 60 : 130;
  return [Math.max(-1, split - Math.max(wide, 3 * horizon)), total];
}

function palette() {
  const names = ["bg", "panel", "line", "text", "muted", "up", "down", "fan", "truth", "accent"];
  return Object.fromEntries(names.map((name) => [name, css(`--${name}`)]));
}

const slice = (name, from, to) => view.data.bars[name].slice(from, to);

function candleTrace(labels, from, to, up, down, hollow) {
  const side = (colour) => ({ line: { color: colour, width: 1.2 }, fillcolor: hollow ? "rgba(0,0,0,0)" : colour });
  return {
    type: "candlestick", x: labels, open: slice("open", from, to), high: slice("high", from, to), low: slice("low", from, to),
    close: slice("close", from, to), increasing: side(up), decreasing: side(down), hoverinfo: "none", showlegend: false,
  };
}

function candles(colours) {
  const { first, now, labels } = view;
  return [candleTrace(labels.slice(0, now - first), first, now, colours.up, colours.down, false)];
}

function truth(colours) {
  const { first, now, last, labels, horizon } = view;
  if (last <= now) return [];
  const x = labels.slice(now - first, last - first);
  const bars = candleTrace(x, now, last, horizon ? colours.truth : colours.up, horizon ? colours.truth : colours.down, true);
  return [{ ...bars, opacity: horizon ? 1 : 0.45 }];
}

function fan(colours) {
  const { forecast, first, now, labels, options } = view;
  const close = view.data.bars.close[now - 1];
  const x = labels.slice(now - first - 1, now - first + forecast.levels["0.5"].length); // it opens from the last close that was seen
  const from = (values) => [close, ...values];
  const line = (y, more) => ({ type: "scatter", mode: "lines", x, y, hoverinfo: "none", showlegend: false, ...more });
  const traces = [];
  for (const [low, high, shade] of [["0.1", "0.9", 0.2], ["0.25", "0.75", 0.3]]) {
    traces.push(line(from(forecast.levels[high]), { line: { width: 0 } }));
    traces.push(line(from(forecast.levels[low]), { line: { width: 0 }, fill: "tonexty", fillcolor: `rgba(${colours.fan}, ${shade})` }));
  }
  if (options.paths) {
    for (const path of forecast.samples) {
      traces.push(line(from(path), { line: { width: 0.8, color: `rgba(${colours.fan}, 0.45)` } }));
    }
  }
  traces.push(line(from(forecast.levels["0.5"]), { line: { width: 2.2, color: `rgb(${colours.fan})` } }));
  return traces;
}

function volumes(colours) {
  const { first, now, last, labels, forecast, data } = view;
  if (!data.bars.volume) return [];
  const bar = (x, y, color, opacity) => ({
    type: "bar", x, y, yaxis: "y2", marker: { color, line: { width: 0 } }, opacity, hoverinfo: "none", showlegend: false,
  });
  const rising = slice("close", first, now).map((close, i) => close >= data.bars.open[first + i]);
  const traces = [bar(labels.slice(0, now - first), slice("volume", first, now), rising.map((up) => (up ? colours.up : colours.down)), 0.5)];
  if (forecast && forecast.volume) traces.push(bar(labels.slice(now - first), forecast.volume, `rgb(${colours.fan})`, 0.45));
  else if (last > now) traces.push(bar(labels.slice(now - first, last - first), slice("volume", now, last), colours.muted, 0.3));
  return traces;
}

function layout(colours) {
  const { labels, now, first, range, options, data } = view;
  const withVolume = Boolean(data.bars.volume);
  const axis = { gridcolor: colours.line, zeroline: false, linecolor: colours.line, tickfont: { color: colours.muted }, fixedrange: false };
  const spike = { showspikes: true, spikemode: "across", spikesnap: "cursor", spikethickness: 1, spikedash: "dot", spikecolor: colours.muted };
  return {
    paper_bgcolor: colours.bg, plot_bgcolor: colours.bg, font: { family: "system-ui, sans-serif", size: 12, color: colours.text },
    margin: { l: 8, r: 62, t: 6, b: 34 }, hovermode: "x", dragmode: "pan", bargap: 0.35, showlegend: false, uirevision: "kept",
    hoverdistance: 60, spikedistance: -1,
    xaxis: {
      ...axis, ...spike, type: "category", categoryorder: "array", categoryarray: labels, range: [...range],
      nticks: Math.max(2, Math.floor(node().clientWidth / (labels[0].length > 10 ? 165 : 115))), tickangle: 0, showgrid: false, rangeslider: { visible: false }, anchor: withVolume ? "y2" : "y",
    },
    yaxis: {
      ...axis, ...spike, side: "right", type: options.log ? "log" : "linear", domain: [withVolume ? 0.22 : 0, 1],
      tickformat: ",.6~g", nticks: 10,
    },
    ...(withVolume ? { yaxis2: { ...axis, side: "right", domain: [0, 0.17], nticks: 3, exponentformat: "SI", fixedrange: true, rangemode: "tozero" } } : {}),
    shapes: [
      { type: "line", x0: now - first - 0.5, x1: now - first - 0.5, y0: 0, y1: 1, yref: "paper", line: { color: colours.accent, width: 1, dash: "dash" } },
    ],
  };
}

// Prices of the bars in sight fill the height.
function fitPrices() {
  const { first, now, last, forecast, range, labels, data, options } = view;
  const from = Math.max(0, Math.ceil(range[0])), to = Math.min(labels.length, Math.floor(range[1]) + 1);
  let low = Infinity, high = -Infinity;
  const see = (value) => {
    if (!Number.isFinite(value) || (options.log && value <= 0)) return;
    low = Math.min(low, value);
    high = Math.max(high, value);
  };
  for (let i = from; i < to; i++) {
    const bar = first + i;
    if (bar < Math.max(now, last)) [data.bars.low[bar], data.bars.high[bar]].forEach(see);
    const step = bar - now;
    if (forecast && step >= 0) {
      [forecast.levels["0.1"][step], forecast.levels["0.9"][step]].forEach(see);
    }
  }
  if (!(high >= low)) return;
  if (options.paths && forecast && forecast.samples.length) { // single paths may leave the picture: a wild one would make all else flat
    const ends = forecast.samples.flat(), half = (high - low) / 2;
    [low, high] = [Math.max(low - half, Math.min(low, ...ends)), Math.min(high + half, Math.max(high, ...ends))];
    if (options.log) low = Math.max(low, high / 1e6);
  }
  if (options.log) [low, high] = [Math.log10(low), Math.log10(high)];
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  Plotly.relayout(node(), { "yaxis.range": [low - room, high + room] });
}

let listening = false;
function listen() {
  if (listening) return;
  listening = true;
  node().on("plotly_relayout", (change) => {
    const range = change["xaxis.range"] ?? (change["xaxis.range[0]"] !== undefined ? [change["xaxis.range[0]"], change["xaxis.range[1]"]] : null);
    if (!range) return;
    view.range = range.map(Number);
    fitPrices();
  });
  node().on("plotly_hover", ({ points }) => readout(view.labels.indexOf(String(points[0].x))));
  node().on("plotly_unhover", () => readout(view.cursor));
  node().addEventListener("keydown", onKey);
  node().addEventListener("dblclick", () => move(initialRange(view.now - view.first, view.labels.length, view.horizon || view.options.horizon)));
}

const move = (range) => Plotly.relayout(node(), { "xaxis.range": range });

function onKey(event) {
  const [from, to] = view.range, centre = view.cursor ?? (from + to) / 2;
  const steps = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 };
  if (event.key in steps) {
    const start = view.cursor ?? view.now - view.first - 1;
    view.cursor = Math.max(0, Math.min(view.labels.length - 1, start + steps[event.key]));
    const line = { type: "line", x0: view.cursor, x1: view.cursor, y0: 0, y1: 1, yref: "paper", line: { color: css("--text"), width: 1, dash: "dot" } };
    const width = to - from;
    const shift = view.cursor < from ? view.cursor - from - 2 : view.cursor > to ? view.cursor - to + 2 : 0;
    Plotly.relayout(node(), { "shapes[1]": line, ...(shift ? { "xaxis.range": [from + shift, from + shift + width] } : {}) });
    readout(view.cursor);
  } else if (event.key === "+" || event.key === "=" || event.key === "-") {
    const factor = event.key === "-" ? 1.25 : 0.8;
    move([centre - (centre - from) * factor, centre + (to - centre) * factor]);
  } else if (event.key === "Escape" && view.cursor !== null) {
    view.cursor = null;
    Plotly.relayout(node(), { "shapes[1]": { type: "line", x0: 0, x1: 0, y0: 0, y1: 0, line: { width: 0 } } });
    readout(null);
  } else return;
  event.preventDefault();
}

// One bar in words above the chart; without a bar the last one that is known.
function readout(index) {
  const { first, now, last, forecast, labels, data } = view;
  const at = index === null || index < 0 ? now - first - 1 : index;
  const bar = first + at, step = bar - now;
  const parts = [["", labels[at]]];
  if (bar < Math.max(now, last)) {
    for (const [sign, name] of [["O", "open"], ["H", "high"], ["L", "low"], ["C", "close"]]) parts.push([sign, price(data.bars[name][bar])]);
    if (data.bars.volume) parts.push(["V", volume(data.bars.volume[bar])]);
  }
  const line = document.getElementById("readout");
  line.replaceChildren(...parts.map((part) => figure(...part)));
  if (forecast && step >= 0) {
    const q = (level) => price(forecast.levels[level][step]);
    const said = [[t("median"), q("0.5")], ["50 %", `${q("0.25")} – ${q("0.75")}`], ["80 %", `${q("0.1")} – ${q("0.9")}`]];
    line.append(...said.map((part) => figure(...part, "f")));
  }
}

function figure(name, value, kind = "") {
  const span = document.createElement("span"), strong = document.createElement("b");
  span.className = kind;
  strong.textContent = value;
  span.append(name ? `${name} ` : "", strong, " ");
  return span;
}

export async function savePng(name) {
  const { clientWidth: width, clientHeight: height } = node();
  await Plotly.downloadImage(node(), { format: "png", width, height, scale: 2, filename: name });
}

export const resize = () => view && Plotly.Plots.resize(node());
