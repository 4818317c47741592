// The forecast as one file to pass on: the chart with all that it needs, the figures and the table. It asks nobody for anything.
import { download } from "./chart.js";
import { currentLanguage } from "./i18n.js";

const MODULES = ["lightweight-charts.js", "texts.js", "i18n.js", "fan.js", "scale.js", "chart.js"];
const POLICY = "default-src 'none'; script-src 'unsafe-inline' data:; style-src 'unsafe-inline'; img-src data: blob:";
const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
const asJson = (value) => JSON.stringify(value).replaceAll("<", "\\u003c"); // no end of a script inside

// shown: {title, sentence, how, decimals, drawn: arguments of draw()}; parts: nodes of the page that stand below the chart
export async function saveHtml(name, shown, parts) {
  const read = async (file) => (await fetch(`/static/${file}`)).text();
  const [css, ...sources] = await Promise.all(["style.css", ...MODULES].map(read));
  const imports = Object.fromEntries(sources.map((source, i) => [`kronos/${MODULES[i]}`, asData(source)]));
  const { theme, colours } = document.documentElement.dataset;
  const page = `<!doctype html>
<html lang="${document.documentElement.lang}" data-theme="${theme}" data-colours="${colours}"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(shown.title)}</title><style>${css}</style>
<script type="importmap">${asJson({ imports })}</script></head><body class="passed-on">
<h1>${escaped(shown.title)}</h1><p id="readout" class="readout"></p><div id="chart" tabindex="0"></div>
<section class="results"><p class="small muted">${escaped(shown.how)}</p>${parts.filter((part) => !part.hidden).map(plain).join("")}</section>
<footer><p>${escaped(shown.sentence)}</p><p>TradingView Lightweight Charts™ © TradingView, Inc. (Apache-2.0)</p></footer>
<script type="module">import { draw } from "kronos/chart.js";
import { setDecimals, setLanguage } from "kronos/i18n.js";
setLanguage("${currentLanguage()}");
setDecimals(${shown.decimals});
draw(...${asJson(shown.drawn)});
</script></body></html>`;
  download(new Blob([page], { type: "text/html" }), `${name}.html`);
}

function asData(source) {
  const bytes = new TextEncoder().encode(source.replace(/from "\.\/([\w-]+\.js)"/g, 'from "kronos/$1"'));
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return `data:text/javascript;base64,${btoa(text)}`;
}

// A part of the page without what only works there.
function plain(part) {
  const copy = part.cloneNode(true);
  for (const node of copy.querySelectorAll("button, [popover]")) node.remove();
  return copy.outerHTML;
}
