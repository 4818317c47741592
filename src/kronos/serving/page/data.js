// The file: choosing, dropping, reading, and what is wrong with it.
import { getJson, inspectFile } from "./api.js";
import { cleaning, count, faultKind, rhythm, roleName, t, timeLabels } from "./i18n.js";

const node = (id) => document.getElementById(id);

// The source of the bars as it was read: {file or sample, fields, answer}
export async function read(source) {
  const answer = source.sample && !source.fields.timeframe ? await getJson(`/v1/samples/${source.sample}`) : await inspectFile(source.sample ?? source.file, source.fields);
  return { ...source, answer };
}

export function wireInputs(chosen) {
  const input = node("file");
  for (const button of document.querySelectorAll("[data-action=choose]")) button.addEventListener("click", () => input.click());
  for (const button of document.querySelectorAll("[data-sample]")) button.addEventListener("click", () => chosen({ sample: button.dataset.sample, fields: {} }));
  input.addEventListener("change", () => {
    if (input.files.length) chosen({ file: input.files[0], fields: {} });
    input.value = "";
  });
  let depth = 0;
  const over = (on) => { for (const id of ["drop", "drop-big"]) node(id).classList.toggle("over", on); };
  document.addEventListener("dragenter", (event) => { event.preventDefault(); over(++depth > 0); });
  document.addEventListener("dragleave", () => over(--depth > 0));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    over((depth = 0) > 0);
    if (event.dataTransfer.files.length) chosen({ file: event.dataTransfer.files[0], fields: {} });
  });
}

export function showFacts(source, again) {
  const { answer } = source;
  const facts = [[t("rows"), count(answer.rows)]];
  if (answer.ok) {
    const [first, last] = timeLabels([answer.first, answer.last]);
    facts.push([t("span"), `${first} – ${last}${answer.tz ? ` (${answer.tz})` : ""}`]);
    facts.push([t("rhythm"), answer.rhythm ? rhythm(answer.rhythm) : answer.rhythm_problem]);
    const used = answer.bars.timestamps.length;
    if (used < answer.rows) facts.push(["", t("shownLatest", { count: count(used) })]);
  }
  facts.push([t("found"), Object.entries(answer.columns).map(([role, name]) => `${name} → ${roleName(role)}`).join(", ")]);
  if (answer.aggregated) facts.push([t("madeOf"), t(answer.aggregated[1] ? "madeOfWhole" : "madeOfBars", { count: count(answer.aggregated[0]) })]);
  if (answer.cleaning) facts.push([t("cleaned"), cleaning(String(answer.cleaning))]);
  node("data-facts").replaceChildren(...facts.flatMap(([name, value]) => {
    const term = document.createElement("dt"), text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    return [term, text];
  }));
  showSymbols(answer);
  showFaults(source, again);
}

function showSymbols({ symbols, symbol }) {
  node("symbol-row").hidden = symbols.length < 2;
  node("symbol").replaceChildren(...symbols.map((name) => new Option(name, name, false, name === symbol)));
}

// Errors stand where the chart would be, warnings beside the other facts.
function showFaults({ answer, fields }, again) {
  const errors = answer.faults.filter((fault) => fault.level === "error");
  node("faults-big").hidden = !errors.length;
  node("drop-big").hidden = errors.length > 0;
  node("faults").hidden = errors.length > 0 || !answer.faults.length;
  const box = node(errors.length ? "faults-big" : "faults");
  const title = document.createElement("h3");
  title.textContent = t(errors.length ? "faultsTitle" : "warningsTitle", { name: answer.name });
  box.replaceChildren(title, ...answer.faults.map(faultLine));
  if (!errors.length) return;
  const remedies = document.createElement("div");
  remedies.className = "remedies";
  const offer = (text, more, kind = "") => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = kind;
    button.textContent = text;
    button.addEventListener("click", () => again({ ...fields, ...more }));
    remedies.append(button);
  };
  const kinds = new Set(errors.map((fault) => fault.kind));
  const ordered = [...kinds].every((kind) => kind === "unsorted timestamp" || kind === "duplicate timestamp");
  if (ordered) offer(t("sortRows"), { clean: "sort" }, "primary");
  if (!kinds.has("too few rows")) offer(t("dropRows"), { clean: "drop" }, ordered ? "" : "primary");
  box.append(remedies);
  box.scrollIntoView({ block: "nearest" });
}

function faultLine(fault) {
  const line = document.createElement("p");
  line.className = `fault ${fault.level}`;
  const rows = fault.rows.join(", ");
  const form = fault.count > fault.rows.length ? "rowsMore" : fault.count === 1 ? "rowNumbered" : "rowsNumbered";
  const where = fault.rows.length ? t(form, { rows }) : "";
  const columns = fault.columns.length ? t("inColumns", { columns: fault.columns.map(roleName).join(", ") }) : "";
  line.textContent = [`${faultKind(fault.kind)}: ${count(fault.count)}`, columns, where, fault.note].filter(Boolean).join(", ");
  return line;
}
