// State in the address, and the last answers of this session.

import { button, byId, clock, element, percent } from "./page.js";
import { kept } from "./answer.js";

const MOST = 8;
const KEY = "answers";

/** What the address asks for: { sample, clip, model, window }, those that are there. */
export function fromAddress() {
  const given = new URLSearchParams(location.search);
  const number = (name) => (/^\d+(\.\d+)?$/.test(given.get(name) ?? "") ? Number(given.get(name)) : undefined);
  return { sample: number("sample"), clip: given.get("clip") ?? undefined, model: given.get("model") ?? undefined, window: number("window") };
}

/** Put the state into the address, so that it can be shared and survives a reload. A visitor's own file has no address. */
export function toAddress({ sample, clip, model, window }) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries({ sample, clip, model, window })) if (value !== undefined && value !== null) given.set(name, value);
  history.replaceState(null, "", given.size ? `?${given}` : location.pathname);
}

export class Earlier {
  /** `open(entry)`: show an earlier answer, { result, source }; its file may be gone after a reload. */
  constructor(open) {
    this.open = open;
    this.files = new Map(); // key -> file, which storage cannot keep
    this.entries = read();
    this.draw();
  }

  add(result, source) {
    const key = `${Date.now()}-${Math.random()}`;
    if (source.file) this.files.set(key, source.file);
    const { sample, clip, name } = source;
    this.entries = [{ key, result: kept(result), source: { sample, clip, name } }, ...this.entries].slice(0, MOST);
    for (const known of this.files.keys()) if (!this.entries.some((one) => one.key === known)) this.files.delete(known);
    try {
      sessionStorage.setItem(KEY, JSON.stringify(this.entries));
    } catch { /* storage is full or forbidden: the list lasts until the page is closed */ }
    this.draw();
  }

  draw() {
    const place = byId("earlier");
    const older = this.entries.slice(1);
    place.hidden = !older.length;
    const rows = older.map((one) => {
      const { result } = one;
      const row = button("", () => this.open({ ...one, source: { ...one.source, file: this.files.get(one.key) } }), { className: "link" });
      row.append(element("span", { textContent: result.video }), element("span", { className: "small", textContent: `${summary(result)} · ${result.model}` }));
      return element("li", {}, row);
    });
    place.replaceChildren(element("h2", { textContent: "Earlier answers" }), element("ul", { className: "earlier" }, ...rows));
  }
}

const summary = (result) => (result.windows ? `timeline of ${clock(result.windows.at(-1).end_seconds)}` : `${result.none_of_these ? "not sure: " : ""}${result.label} ${percent(result.confidence)}`);

function read() {
  try {
    const entries = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
    return entries.filter((one) => one.result?.video && one.source);
  } catch {
    return [];
  }
}
