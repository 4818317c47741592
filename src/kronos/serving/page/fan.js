// The fan as a series of the chart library: bands between quantiles, shaded the darker the nearer to the median, single paths,
// the median. And the line at "now". Both draw on the library's canvas.
import { customSeriesDefaultOptions } from "./lightweight-charts.js";

// An item: {time, levels: [ascending quantiles], samples: [closes]}. levels.length is odd; the middle one is the median.
export class FanSeries {
  constructor() {
    this.painter = new FanPainter();
  }

  renderer() { return this.painter; }

  update(data, options) { this.painter.take(data, options); }

  priceValueBuilder(item) {
    const { levels } = item; // single paths may leave the picture: a wild one would make all else flat
    return [levels[0], levels.at(-1), levels[(levels.length - 1) / 2]];
  }

  isWhitespace(item) { return !item.levels; }

  defaultOptions() {
    return { ...customSeriesDefaultOptions, rgb: "88, 166, 255", paths: false, bands: true, shade: 0.46 };
  }
}

class FanPainter {
  take(data, options) { Object.assign(this, { data, options }); }

  draw(target, toCoordinate) {
    if (!this.data?.bars.length) return;
    target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      const points = this.data.bars.filter(({ originalData }) => originalData.levels).map(({ x, originalData }) => ({
        x: x * h,
        levels: originalData.levels.map((value) => toCoordinate(value) * v),
        samples: this.options.paths ? originalData.samples.map((value) => toCoordinate(value) * v) : [],
      }));
      if (!points.length) return;
      const { rgb } = this.options, count = points[0].levels.length, pairs = (count - 1) / 2;
      context.lineJoin = "round";
      if (this.options.bands) {
        context.fillStyle = `rgba(${rgb}, ${(this.options.shade / pairs).toFixed(3)})`;
        for (let i = 0; i < pairs; i++) band(context, points, i, count - 1 - i);
      }
      context.strokeStyle = `rgba(${rgb}, 0.4)`;
      context.lineWidth = h;
      for (let i = 0; i < points[0].samples.length; i++) line(context, points, (point) => point.samples[i]);
      if (!this.options.bands) return;
      context.strokeStyle = `rgb(${rgb})`;
      context.lineWidth = 2 * h;
      context.beginPath();
      curve(context, points.map(({ x }) => x), points.map(({ levels }) => levels[pairs]));
      context.stroke();
    });
  }
}

function band(context, points, low, high) {
  const xs = points.map(({ x }) => x), top = points.map(({ levels }) => levels[high]), bottom = points.map(({ levels }) => levels[low]);
  context.beginPath();
  curve(context, xs, top);
  context.lineTo(xs.at(-1), bottom.at(-1));
  curve(context, [...xs].reverse(), [...bottom].reverse());
  context.closePath();
  context.fill();
}

// Through all points, without a bend that the quantiles do not have: monotone cubics (Fritsch and Carlson, 1980).
function curve(context, xs, ys) {
  const last = xs.length - 1, steps = xs.slice(1).map((x, i) => (ys[i + 1] - ys[i]) / (x - xs[i]));
  const slopes = xs.map((_, i) => {
    if (i === 0 || i === last) return steps[i === 0 ? 0 : last - 1] ?? 0;
    const [before, after] = [steps[i - 1], steps[i]];
    return before * after <= 0 ? 0 : (2 * before * after) / (before + after);
  });
  context.lineTo(xs[0], ys[0]);
  for (let i = 0; i < last; i++) {
    const third = (xs[i + 1] - xs[i]) / 3;
    context.bezierCurveTo(xs[i] + third, ys[i] + slopes[i] * third, xs[i + 1] - third, ys[i + 1] - slopes[i + 1] * third, xs[i + 1], ys[i + 1]);
  }
}

function line(context, points, value) {
  context.beginPath();
  for (const point of points) context.lineTo(point.x, value(point));
  context.stroke();
}

// A dashed line between the last known bar and the next.
export class NowLine {
  constructor() {
    this.x = null;
    const draw = (target) => target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio: h, verticalPixelRatio: v }) => {
      if (this.x === null) return;
      context.strokeStyle = this.colour;
      context.lineWidth = Math.max(1, Math.round(h));
      context.setLineDash([6 * v, 4 * v]);
      context.beginPath();
      const x = Math.round(this.x * h) + 0.5;
      context.moveTo(x, 0);
      context.lineTo(x, bitmapSize.height);
      context.stroke();
      context.setLineDash([]);
    });
    this.views = [{ renderer: () => ({ draw }), zOrder: () => "top" }];
  }

  attached({ chart, requestUpdate }) { Object.assign(this, { chart, requestUpdate }); }

  // at: the number of the first bar that is not known
  put(at, colour) {
    Object.assign(this, { at, colour });
    this.requestUpdate?.();
  }

  updateAllViews() {
    const scale = this.chart.timeScale(), before = scale.logicalToCoordinate(this.at - 1), after = scale.logicalToCoordinate(this.at);
    this.x = before === null || after === null ? null : (before + after) / 2;
  }

  paneViews() { return this.views; }
}
