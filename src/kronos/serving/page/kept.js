// What is kept: settings in the address, the last file in the browser's own store.

const FIELDS = ["horizon", "lookback", "paths", "model", "calendar", "temperature", "top-p", "seed", "calibration", "windows", "scale", "shape", "averages", "vary-what", "vary-count"];
const node = (id) => document.getElementById(id);

// Puts what differs from the page's own settings into the address; `more` names the sample and "now".
export function writeAddress(more) {
  const query = new URLSearchParams(Object.entries(more).filter(([, value]) => value));
  for (const id of FIELDS) {
    const field = node(id);
    if (field.value !== "" && field.value !== field.dataset.usual) query.set(id, field.value);
  }
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2F", "/");
  const address = text ? `?${text}` : "";
  if (address !== location.search) history.replaceState(null, "", address || location.pathname);
}

// Remembers the page's own settings and takes those of the address; returns {sample, timeframe, now}.
export function readAddress() {
  const query = new URLSearchParams(location.search);
  for (const id of FIELDS) {
    const field = node(id);
    field.dataset.usual = field.value;
    const value = query.get(id);
    if (value === null || value.length > 40) continue;
    if (field.tagName !== "SELECT") field.value = value;
    else if ([...field.options].some((option) => option.value === value)) field.value = value;
    else if (id === "calendar") field.add(new Option(value, value, false, true));
  }
  return { sample: query.get("sample"), timeframe: query.get("timeframe"), now: query.get("now") };
}

const MOST = 32 * 2 ** 20; // bytes of a file that is kept

function store() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("kronos", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("last");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function inStore(mode, act) {
  try {
    const database = await store();
    return await new Promise((resolve, reject) => {
      const request = act(database.transaction("last", mode).objectStore("last"));
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    }).finally(() => database.close());
  } catch {
    return null; // a private window has no store; the page works without
  }
}

export const keepFile = (file, fields) => (file.size <= MOST ? inStore("readwrite", (last) => last.put({ file, fields }, "file")) : forgetFile());
export const keptFile = () => inStore("readonly", (last) => last.get("file"));
export const forgetFile = () => inStore("readwrite", (last) => last.delete("file"));
