// A form of drop-downs for a file whose columns have names that say nothing: which column is which?
import { roleName, t } from "./i18n.js";

const ROLES = ["timestamps", "open", "high", "low", "close", "volume", "amount"];
const LOOKED_AT = 65536; // bytes of the file
const MOST_COLUMNS = 200;

export const missingColumns = (detail) => /^.*?no column for ([\w, ]+?)(?: among|;|$)/.exec(detail ?? "")?.[1].split(", ") ?? null;

// The names in the first line of a text file; none for a packed or binary one.
export async function headerOf(file) {
  if (/\.(gz|parquet|pq)$/i.test(file.name)) return [];
  const bytes = new Uint8Array(await file.slice(0, LOOKED_AT).arrayBuffer());
  if (bytes.includes(0)) return [];
  const line = decoded(bytes).replace(/^\uFEFF/, "").split(/\r?\n|\r/).find((text) => text.trim()) ?? "";
  const sign = [",", "\t", ";", "|"].map((mark) => [line.split(mark).length, mark]).sort((a, b) => b[0] - a[0])[0][1];
  const cells = line.match(new RegExp(`("([^"]|"")*"|[^${sign === "|" ? "\\|" : sign}]*)(${sign === "|" ? "\\|" : sign}|$)`, "g")) ?? [];
  const names = cells.map((cell) => cell.replace(new RegExp(`${sign === "|" ? "\\|" : sign}$`), "").trim().replace(/^"(.*)"$/s, "$1").replaceAll('""', '"'));
  return names.filter(Boolean).slice(0, MOST_COLUMNS);
}

function decoded(bytes) {
  for (const encoding of ["utf-8", "gb18030"]) {
    try {
      return new TextDecoder(encoding, { fatal: true }).decode(bytes, { stream: true });
    } catch { /* the next one */ }
  }
  return "";
}

// read: called with close=Last,open=First
export function showMapping(form, file, names, missing, fields, read) {
  const title = document.createElement("h3"), why = document.createElement("p"), go = document.createElement("button");
  title.textContent = t("mapTitle");
  why.textContent = t("mapWhy", { name: file.name, missing: missing.map(roleName).join(", ") });
  const before = Object.fromEntries((fields.columns ?? "").split(",").filter(Boolean).map((pair) => pair.split("=")));
  const rows = ROLES.map((role) => {
    const label = document.createElement("label"), word = document.createElement("span"), select = document.createElement("select");
    word.textContent = roleName(role);
    select.dataset.role = role;
    select.append(new Option(t("mapNone"), ""), ...names.map((name) => new Option(name, name)));
    const same = names.find((name) => name === before[role]) ?? names.find((name) => !missing.includes(role) && name.toLowerCase() === role);
    select.value = same ?? "";
    label.append(word, " ", select);
    return label;
  });
  Object.assign(go, { type: "submit", className: "primary", textContent: t("mapGo") });
  form.replaceChildren(title, why, ...rows, go);
  form.onsubmit = (event) => {
    event.preventDefault();
    const pairs = [...form.querySelectorAll("select")].filter((select) => select.value).map((select) => `${select.dataset.role}=${select.value}`);
    read(pairs.join(","));
  };
  form.hidden = false;
}
