// The language of the page: words, numbers, and times.
import { cleaningInChinese, faultKinds, rhythmInChinese, roles, texts } from "./texts.js";

let language = "en";

export const currentLanguage = () => language;

export function setLanguage(name) {
  language = name in texts ? name : "en";
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  for (const [attribute, set] of [
    ["data-i18n", (node, text) => (node.textContent = text)],
    ["data-i18n-title", (node, text) => (node.title = text)],
    ["data-i18n-label", (node, text) => node.setAttribute("aria-label", text)],
    ["data-i18n-placeholder", (node, text) => (node.placeholder = text)],
  ]) {
    for (const node of document.querySelectorAll(`[${attribute}]`)) set(node, t(node.getAttribute(attribute)));
  }
}

export function t(key, values = {}) {
  const text = texts[language][key] ?? texts.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export const faultKind = (kind) => (language === "zh" ? faultKinds[kind] ?? kind : kind);
export const roleName = (role) => (language === "zh" ? roles[role] ?? role : role);
export const rhythm = (sentence) => (language === "zh" ? rhythmInChinese(sentence) : sentence);

export const cleaning = (sentence) => (language === "zh" ? cleaningInChinese(sentence) : sentence);

const locale = () => (language === "zh" ? "zh-CN" : "en-US");

// A formatter costs a hundred times what it formats; the chart asks for hundreds of numbers a second.
const formatters = new Map();
function formatted(value, options = {}) {
  const key = `${language}${JSON.stringify(options)}`;
  if (!formatters.has(key)) formatters.set(key, new Intl.NumberFormat(locale(), options));
  return formatters.get(key).format(value);
}

export const count = (value) => formatted(value);

let decimals = 2;
export const setDecimals = (count) => (decimals = count); // of the data's tick

export function price(value, digits = decimals) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return formatted(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

export const decimal = (value) => (Number.isFinite(value) ? formatted(value, { minimumFractionDigits: 2, maximumFractionDigits: 2 }) : "–");

export function volume(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  return formatted(value, { notation: "compact", maximumFractionDigits: 2 });
}

export function percent(value, digits = 2, signed = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const style = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return formatted(value, signed ? { ...style, signDisplay: "exceptZero" } : style);
}

export const changeOf = (value, base) => percent(value / base - 1, 2, true);

// Times are shown as the file has them: 2024-07-01T09:30:00+08:00 -> 2024-07-01 09:30. Bars must not share a label.
export function timeLabels(times) {
  const daily = times.every((time) => time.slice(11, 19) === "00:00:00");
  const seconds = times.some((time) => time.slice(17, 19) !== "00");
  const labels = times.map((time) => time.slice(0, daily ? 10 : seconds ? 19 : 16).replace("T", " "));
  if (new Set(labels).size === labels.length) return labels;
  return times.map((time) => time.replace("T", " ")); // the hour that summer time repeats, or fractions of a second
}
