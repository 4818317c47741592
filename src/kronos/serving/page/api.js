// Talking to the service: JSON, forms, and streams of events. A Problem is what it answered, Gone that it did not.

export class Problem extends Error {
  constructor(members) {
    super(members.detail ?? "");
    Object.assign(this, members);
  }
}

export class Gone extends Error {}

const KEY = "kronos-token";

export const setToken = (token) => sessionStorage.setItem(KEY, token);

async function send(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(token ? { Authorization: `Bearer ${token}` } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Gone();
  }
  if (response.ok) return response;
  let members = { status: response.status, detail: response.statusText };
  try {
    members = await response.json();
  } catch { /* not one of the service's own answers */ }
  throw new Problem(members);
}

export const getJson = async (path) => (await send(path)).json();

// file: a File, or the name of a sample
export async function inspectFile(file, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  if (typeof file === "string") form.append("sample", file);
  else form.append("file", file, file.name);
  return (await send("/v1/inspect", { method: "POST", body: form })).json();
}

// Give every event to `told`, and the forecast at the end.
export const streamForecast = (body, told, signal) => stream("/v1/forecast", body, told, signal);
export const streamBatch = (body, told, signal) => stream("/v1/forecast/batch", body, told, signal);

async function stream(path, body, told, signal) {
  const response = await send(path, {
    method: "POST",
    body: JSON.stringify(body),
    headers: { "Content-Type": "application/json", Accept: "text/event-stream" },
    signal,
  });
  for await (const { name, data } of events(response)) {
    if (name === "forecast") return data;
    if (name === "problem") throw new Problem(data);
    told(name, data);
  }
  throw new Gone("cutOff");
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    let part;
    try {
      part = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Gone("cutOff");
    }
    if (part.done) return;
    const blocks = (rest + part.value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]));
      if (fields.event) yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

// Resolves when the service answers again.
export async function whenBack(signal) {
  while (!signal.aborted) {
    await new Promise((resolve) => setTimeout(resolve, 2000));
    try {
      if ((await fetch("/readyz", { signal })).ok) return true;
    } catch { /* not yet */ }
  }
  return false;
}
