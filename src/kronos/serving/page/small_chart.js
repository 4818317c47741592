// A small chart of one symbol: its latest bars, the forecast over them, what happened. Several stand side by side.
import { FanSeries, NowLine } from "./fan.js";
import { changeOf, percent, price, t } from "./i18n.js";
import { CandlestickSeries, createChart, LineStyle, PriceScaleMode } from "./lightweight-charts.js";
import { barTimes, labelsOf, tickLabel } from "./scale.js";

const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const SHOWN = 300; // bars before "now" that a small chart holds
const IN_SIGHT = 60;

export class SmallChart {
  // said: where a bar is read out
  constructor(box, said) {
    Object.assign(this, { box, said, view: null });
    this.chart = createChart(box, {
      autoSize: true, layout: { attributionLogo: false }, handleScroll: { vertTouchDrag: false, mouseWheel: false }, handleScale: { mouseWheel: false },
      timeScale: {
        borderVisible: false, rightOffset: 1, tickMarkMaxCharacterLength: 6,
        tickMarkFormatter: (time, kind) => (this.view?.index.has(time) ? tickLabel(this.view.stamps[this.view.index.get(time)], kind) : ""),
      },
      rightPriceScale: { borderVisible: false }, crosshair: { mode: 0 },
      localization: { timeFormatter: (time) => this.view?.labels[this.view.index.get(time)] ?? "" },
    });
    const format = { type: "custom", formatter: (value) => this.axisPrice(value), minMove: 1e-12 };
    const quiet = { priceLineVisible: false, lastValueVisible: false, priceFormat: format };
    this.candles = this.chart.addSeries(CandlestickSeries, { priceFormat: format, priceLineStyle: LineStyle.Dotted });
    this.truth = this.chart.addSeries(CandlestickSeries, quiet);
    this.fan = this.chart.addCustomSeries(new FanSeries(), quiet);
    this.nowLine = new NowLine();
    this.candles.attachPrimitive(this.nowLine);
    this.chart.subscribeCrosshairMove(({ logical, point }) => this.readout(point && logical !== undefined ? logical : null));
    this.chart.subscribeClick(({ logical }) => this.readout(logical ?? null));
    this.chart.subscribeDblClick(() => this.reset());
  }

  // bars: columns; now: how many are known; forecast: null or {times, levels}; options: {scale, truth, decimals, horizon}
  draw(bars, now, forecast, options) {
    const from = Math.max(0, now - SHOWN), until = options.truth ? Math.min(bars.close.length, now + options.horizon) : now;
    const future = forecast?.times ?? [], past = bars.timestamps.slice(from, now);
    const stamps = [...past, ...future, ...bars.timestamps.slice(now + future.length, until)], times = barTimes(stamps);
    this.view = { bars, now, from, until, forecast, options, stamps, times, labels: labelsOf(stamps), index: new Map(times.map((time, i) => [time, i])) };
    this.style();
    const row = (i) => ({ time: times[i - from], open: this.scaled(bars.open[i]), high: this.scaled(bars.high[i]), low: this.scaled(bars.low[i]), close: this.scaled(bars.close[i]) });
    const rows = (first, last) => Array.from({ length: Math.max(0, last - first) }, (_, i) => row(first + i));
    this.candles.setData(rows(from, now));
    this.truth.setData(rows(now, until));
    this.fan.setData(forecast ? this.fanItems() : []);
    this.nowLine.put(now - from, css("--accent"));
    this.reset();
    this.readout(null);
    this.box.drawn = { candles: now - from, truth: until - now, fan: forecast ? future.length + 1 : 0 };
  }

  scaled(value) {
    return this.view.options.scale === "percent" ? 100 * (value / this.view.bars.close[this.view.now - 1] - 1) : value;
  }

  axisPrice(value) {
    return this.view?.options.scale === "percent" ? percent(value / 100, 1, true) : price(value, this.view?.options.decimals);
  }

  fanItems() {
    const { forecast: { levels, times: future }, now, from, times, bars } = this.view;
    const names = Object.keys(levels).sort((a, b) => a - b), close = this.scaled(bars.close[now - 1]);
    const item = (step) => ({ time: times[now - from + step], levels: names.map((name) => this.scaled(levels[name][step])), samples: [] });
    return [{ time: times[now - from - 1], levels: names.map(() => close), samples: [] }, ...future.map((_, step) => item(step))];
  }

  style() {
    const [bg, line, muted, up, down, truth, fan] = ["panel", "line", "muted", "up", "down", "truth", "fan"].map((name) => css(`--${name}`));
    const { labels, options, forecast } = this.view;
    this.chart.applyOptions({
      layout: { background: { color: bg }, textColor: muted, fontSize: 11, fontFamily: getComputedStyle(document.body).fontFamily },
      grid: { vertLines: { color: `${line}66` }, horzLines: { color: `${line}66` } },
      crosshair: { vertLine: { color: muted, labelBackgroundColor: muted }, horzLine: { color: muted, labelBackgroundColor: muted } },
      timeScale: { timeVisible: labels.some((label) => label.length > 10) },
    });
    this.chart.priceScale("right").applyOptions({ mode: options.scale === "log" ? PriceScaleMode.Logarithmic : PriceScaleMode.Normal });
    this.candles.applyOptions({ upColor: up, downColor: down, borderUpColor: up, borderDownColor: down, wickUpColor: up, wickDownColor: down });
    const hollow = forecast ? [truth, truth] : [`${up}88`, `${down}88`];
    this.truth.applyOptions({ upColor: "transparent", downColor: "transparent", borderUpColor: hollow[0], borderDownColor: hollow[1], wickUpColor: hollow[0], wickDownColor: hollow[1] });
    this.fan.applyOptions({ rgb: fan });
  }

  reset() {
    const { now, from, options, forecast } = this.view, ahead = forecast?.times.length ?? Math.min(options.horizon, 24);
    this.chart.timeScale().setVisibleLogicalRange({ from: Math.max(0, now - from - Math.max(IN_SIGHT, 2 * ahead)), to: now - from + ahead });
  }

  // One bar in words; without one the last that is known.
  readout(index) {
    if (!this.view) return;
    const { bars, now, from, until, forecast, labels, options: { decimals } } = this.view;
    const at = index === null ? now - from - 1 : Math.max(0, Math.min(labels.length - 1, Math.round(index))), bar = from + at, step = bar - now;
    const said = [labels[at]];
    if (bar < until) {
      said.push(`${t("short_close")} ${price(bars.close[bar], decimals)}`);
      if (bar > 0) said.push(changeOf(bars.close[bar], bars.close[bar - 1]));
    }
    if (forecast && step >= 0 && step < forecast.times.length) {
      const q = (level) => price(forecast.levels[level][step], decimals);
      said.push(`${t("median")} ${q("0.5")}`, `80 % ${q("0.1")} – ${q("0.9")}`);
    }
    this.said.textContent = said.join(" · ");
  }

  remove() { this.chart.remove(); }
}
