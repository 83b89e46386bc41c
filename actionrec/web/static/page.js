// Shared by all pages: elements, number formats, and requests to the server.

export const byId = (id) => document.getElementById(id);

/** Make an element; text is never read as HTML. `properties` may have `data` and `style` as objects. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "style") Object.assign(made.style, value);
    else if (name === "data") Object.assign(made.dataset, value);
    else if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
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

/** A count of parameters: 3939336 -> 3.9 M. */
export const millions = (count) => `${(count / 1e6).toFixed(1)} M`;

/** Text for screen readers only. */
export const aloud = (text) => element("span", { className: "aloud", textContent: text });

/** Get JSON; on errors, throw the server's message. */
export async function ask(address) {
  const answered = await fetch(address);
  const body = await answered.json().catch(() => ({ error: `the server answered ${answered.status}.` }));
  if (!answered.ok) throw new Error(body.error);
  return body;
}

/** Show the links to pages that have content. */
export async function showLinks() {
  const { models } = await ask("comparison");
  for (const link of document.querySelectorAll("[data-needs=comparison]")) link.hidden = !models.length;
}
