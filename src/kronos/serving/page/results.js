// What stands below the chart: figures, the score, the table, the CSV.
import { download } from "./chart.js";
import { count, percent, price, t, timeLabels } from "./i18n.js";

const node = (id) => document.getElementById(id);
const LEVELS = ["0.1", "0.25", "0.5", "0.75", "0.9"];

export function fill(list, rows) {
  list.replaceChildren(...rows.map(([name, value, kind, help]) => {
    const box = document.createElement("div"), term = document.createElement("dt"), figure = document.createElement("dd");
    term.textContent = name;
    if (help) term.append(...helpOn(name, help, `${list.id}-${help}`));
    figure.textContent = value;
    figure.className = [kind ?? "", value.length > 14 ? "long" : ""].join(" ").trim();
    box.append(term, figure);
    return box;
  }));
}

// A "?" that opens a sentence: by mouse, finger and keyboard.
function helpOn(name, key, id) {
  const button = document.createElement("button"), words = document.createElement("span");
  Object.assign(button, { type: "button", className: "help", textContent: "?", title: t(key) });
  button.setAttribute("aria-label", t("more", { name }));
  button.setAttribute("popovertarget", id);
  Object.assign(words, { id, popover: "auto", textContent: t(key) });
  return [button, words];
}

export function showFigures({ summary: s }) {
  const sign = s.expected_return > 0 ? "rise" : s.expected_return < 0 ? "fall" : "";
  fill(node("figures"), [
    [t("probUp"), percent(s.prob_up, 0), "", "helpProbUp"],
    [t("expectedReturn"), percent(s.expected_return, 2, true), sign],
    [t("expectedRange"), `${price(s.expected_low)} – ${price(s.expected_high)}`],
    [t("interval80"), `${price(s.close_q10)} – ${price(s.close_q90)}`],
    [t("volatility"), percent(s.realised_volatility)],
    [t("drawdown"), percent(s.max_drawdown)],
    [t("var95"), percent(s.value_at_risk), "", "helpVar"],
    [t("es95"), percent(s.expected_shortfall), "", "helpEs"],
  ]);
}

export function showScore({ score }) {
  node("score").hidden = !score;
  if (!score) return;
  const closer = score.mae < score.mae_last_price;
  const direction = score.direction === null ? "–" : score.direction ? t("right") : t("wrong");
  fill(node("score-figures"), [
    [t("mae"), price(score.mae), closer ? "good" : "poor"],
    [t("maeLast"), price(score.mae_last_price)],
    [t("crps"), price(score.crps), "", "helpCrps"],
    [t("inside"), t("countOf", { count: count(score.inside_80), total: count(score.bars) })],
    [t("direction"), direction],
  ]);
  node("score-words").textContent = `${t(closer ? "better" : "worse")} ${t("oneWindow")}`;
}

// rows: the long table's rows of close; actual: closes that are known
export function showTable(rows, actual) {
  const heads = [t("time"), t("mean"), ...LEVELS.map((level) => `${Math.round(100 * Number(level))} %`), ...(actual.length ? [t("actual")] : [])];
  const labels = timeLabels(rows.map((row) => row.timestamp));
  const cell = (tag, text, kind = "") => {
    const made = document.createElement(tag);
    made.textContent = text;
    if (tag === "th") made.scope = kind;
    else if (kind) made.className = kind;
    return made;
  };
  const head = document.createElement("thead"), body = document.createElement("tbody"), top = document.createElement("tr");
  top.append(...heads.map((text) => cell("th", text, "col")));
  head.append(top);
  for (const [i, row] of rows.entries()) {
    const line = document.createElement("tr");
    line.append(cell("th", labels[i], "row"), cell("td", price(row.mean)), ...LEVELS.map((level) => cell("td", price(row[level]))));
    if (actual.length) {
      const inside = actual[i] >= row["0.1"] && actual[i] <= row["0.9"];
      line.append(i < actual.length ? cell("td", price(actual[i]), inside ? "in" : "out") : cell("td", ""));
    }
    body.append(line);
  }
  node("table").replaceChildren(head, body);
}

// about: columns that stand in every row, such as symbol and model
export function saveCsv(rows, about, name) {
  const whole = rows.map((row) => ({ timestamp: row.timestamp, target_name: row.target_name, mean: row.mean, ...Object.fromEntries(LEVELS.map((level) => [level, row[level]])), ...about }));
  const columns = Object.keys(whole[0]);
  const text = [columns, ...whole.map((row) => columns.map((column) => row[column]))].map((cells) => cells.map(csvCell).join(",")).join("\n") + "\n";
  download(new Blob([text], { type: "text/csv" }), name);
}

// Text that a spreadsheet would take for a formula gets an apostrophe before it.
function csvCell(value) {
  if (typeof value !== "string") return value;
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
