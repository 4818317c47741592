// A rolling hold-out: forecasts from many points of the past, each scored against the bars that came. One batch of the service.
import { streamBatch } from "./api.js";
import { count, percent, price, t } from "./i18n.js";

const node = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
export const LEAST_WINDOWS = 3;

// The points to forecast from, latest first: a horizon apart, so that no bar is scored twice.
export function cutOffs(now, horizon, windows, least) {
  const found = [];
  for (let at = now - horizon; at >= least && found.length < windows; at -= horizon) found.push(at);
  return found;
}

// body: what a single forecast would be asked with; bars: columns. Gives the scores of all windows together.
export async function rollingHoldout(body, bars, ats, lookback, told, signal) {
  const { horizon } = body;
  const series = ats.map((at) => ({
    id: bars.timestamps[at - 1],
    bars: Object.fromEntries(Object.entries(bars).map(([name, values]) => [name, values.slice(Math.max(0, at - lookback), at + horizon)])),
  }));
  const answer = await streamBatch({ ...body, holdout: horizon, target: "close", samples: 0, series }, told, signal);
  return scored(answer, bars, ats, horizon);
}

function scored(answer, bars, ats, horizon) {
  const levels = Object.keys(answer.forecast[0] ?? {}).filter((name) => Number(name) < 0.5), inside = Object.fromEntries(levels.map((level) => [level, 0]));
  const where = new Map(ats.map((at) => [bars.timestamps[at - 1], at])), steps = new Map();
  for (const row of answer.forecast) {
    const step = steps.get(row.id) ?? 0, actual = bars.close[where.get(row.id) + step];
    steps.set(row.id, step + 1);
    for (const level of levels) if (actual >= row[level] && actual <= row[String(Number((1 - level).toFixed(4)))]) inside[level]++;
  }
  const scores = answer.series.map(({ score }) => score), total = scores.length * horizon, mean = (name) => scores.reduce((sum, score) => sum + score[name], 0) / scores.length;
  const moved = scores.filter(({ direction }) => direction !== null);
  return {
    windows: scores.length, bars: total, errors: answer.errors.length, crps: mean("crps"), mae: mean("mae"), maeLast: mean("mae_last_price"),
    closer: scores.filter((score) => score.mae < score.mae_last_price).length,
    right: moved.filter(({ direction }) => direction).length, moved: moved.length,
    coverage: levels.map((level) => [1 - 2 * level, inside[level] / total]).sort((a, b) => a[0] - b[0]),
    first: bars.timestamps[ats.at(-1) - 1], last: bars.timestamps[ats[0] + horizon - 1],
  };
}

export function showRolling(found, fill, span) {
  const closer = found.mae < found.maeLast, near = Math.abs(at(found, 0.8) - 0.8) <= 0.05;
  fill(node("rolling-figures"), [
    [t("mae"), price(found.mae), closer ? "good" : "poor"],
    [t("maeLast"), price(found.maeLast)],
    [t("crps"), price(found.crps), "", "helpCrps"],
    [t("inside"), percent(at(found, 0.8), 0), near ? "good" : "poor"],
    [t("closerThanLast"), t("countOf", { count: count(found.closer), total: count(found.windows) })],
    [t("directionRight"), t("countOf", { count: count(found.right), total: count(found.moved) })],
  ]);
  node("rolling-words").textContent = t("rollingSaid", { windows: count(found.windows), bars: count(found.bars), span });
  drawReliability(found.coverage);
  node("rolling").hidden = false;
}

const at = (found, share) => found.coverage.reduce((best, pair) => (Math.abs(pair[0] - share) < Math.abs(best[0] - share) ? pair : best))[1];

// What should be inside against what was: on the diagonal where the bands are right, below it where they are too narrow.
function drawReliability(coverage) {
  const size = 200, left = 40, bottom = 34, x = (share) => left + share * size, y = (share) => 8 + (1 - share) * size;
  const made = (tag, attributes, text) => {
    const shape = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) shape.setAttribute(name, value);
    if (text !== undefined) shape.textContent = text;
    return shape;
  };
  const shapes = [made("rect", { x: left, y: 8, width: size, height: size, class: "frame" })];
  for (const share of [0, 0.5, 1]) {
    shapes.push(made("text", { x: x(share), y: size + 24, "text-anchor": "middle" }, percent(share, 0)));
    shapes.push(made("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share, 0)));
  }
  shapes.push(made("line", { x1: x(0), y1: y(0), x2: x(1), y2: y(1), class: "ideal" }));
  shapes.push(made("polyline", { points: coverage.map(([share, was]) => `${x(share)},${y(was)}`).join(" "), class: "measured" }));
  for (const [share, was] of coverage) {
    const dot = made("circle", { cx: x(share), cy: y(was), r: 3.5, class: "dot" });
    dot.append(made("title", {}, t("reliabilityDot", { share: percent(share, 0), was: percent(was, 0) })));
    shapes.push(dot);
  }
  const picture = node("reliability");
  picture.setAttribute("viewBox", `0 0 ${left + size + 16} ${size + bottom}`);
  picture.setAttribute("aria-label", coverage.map(([share, was]) => t("reliabilityDot", { share: percent(share, 0), was: percent(was, 0) })).join("; "));
  picture.replaceChildren(...shapes);
}
