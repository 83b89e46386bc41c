// Shared by all pages: elements, number formats, downloads, and requests to the server.

export const byId = (id) => document.getElementById(id);

/** Make an element; text is never read as HTML. `properties` may have `data` and `style` as objects. */
export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(node.style, value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make an SVG element; all properties are attributes. */
export function shape(tag, attributes = {}, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Make a button. */
export function button(text, clicked, properties = {}) {
  const node = element("button", { type: "button", textContent: text, ...properties });
  node.addEventListener("click", clicked);
  return node;
}

/** A probability in percent that does not round up to 100 %, as on the command line. */
export const percent = (share) => (share >= 0.9995 && share < 1 ? ">99.9 %" : `${(100 * share).toFixed(1)} %`);

/** A time in a video: 75.25 -> 1:15.2, as on the command line. */
export function clock(seconds) {
  const tenths = Math.floor(seconds * 10 + 1e-6);
  const rest = `${String(Math.floor((tenths % 600) / 10)).padStart(2, "0")}.${tenths % 10}`;
  const minutes = Math.floor(tenths / 600);
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const BRIEF = 10; // seconds

/** A time in a clip of a few seconds, in hundredths; else as `clock`. */
export const moment = (seconds, length) => (length < BRIEF ? `${seconds.toFixed(2)} s` : clock(seconds));

/** A whole number: 230000 -> 230,000. */
export const whole = (number) => number.toLocaleString("en");

/** A count of parameters: 3939336 -> 3.9 M. */
export const millions = (count) => `${(count / 1e6).toFixed(1)} M`;

/** Text for screen readers only. */
export const aloud = (text) => element("span", { className: "aloud", textContent: text });

/** Offer text as a file. */
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Rows as CSV. Spreadsheets would run a text that starts like a formula, so it gets an apostrophe. */
export function csv(rows) {
  const cell = (value) => {
    const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

/** Get JSON; on errors, throw the server's message. */
export async function ask(address) {
  const answered = await fetch(address).catch(() => { throw new Error("The server does not answer. Is it still running? Reload the page to try again."); });
  const body = await answered.json().catch(() => ({ error: `the server answered ${answered.status}.` }));
  if (!answered.ok) throw new Error(body.error);
  return body;
}

/** Show the links to pages that have content. */
export async function showLinks() {
  const { models } = await ask("comparison");
  for (const link of document.querySelectorAll("[data-needs=comparison]")) link.hidden = !models.length;
}
