// Plot from the server, with a link to its full size, as a phone shows it too small.

import { element } from "./page.js";

let shown = []; // addresses of the plots on the page, in memory

/** Forget the plots of an earlier answer. */
export function forget() {
  shown.forEach((url) => URL.revokeObjectURL(url));
  shown = [];
}

/** Make a figure of a data URL; browsers do not open data URLs as pages, so it becomes a file in memory. */
export function plot(dataUrl, title, words, properties = {}) {
  const bytes = Uint8Array.from(atob(dataUrl.split(",")[1]), (character) => character.charCodeAt(0));
  const url = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
  shown.push(url);
  const open = (...inside) => element("a", { href: url, target: "_blank", rel: "noopener" }, ...inside);
  return element("figure", { className: "card", ...properties },
    element("h2", { textContent: title }),
    open(element("img", { className: "plot", src: url, alt: words })),
    element("figcaption", { className: "small" }, `${words} `, open("Open at full size")));
}
