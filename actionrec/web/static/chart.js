// Shared by the charts: they are drawn to the measured width, so that text keeps its size on every screen.

import { element, shape } from "./page.js";

export const TEXT = 13; // pixels

const pen = document.createElement("canvas").getContext("2d");

/** Width of a text in a chart, in pixels. */
export function textWidth(text, bold = false) {
  pen.font = `${bold ? 650 : 400} ${TEXT}px ${getComputedStyle(document.body).fontFamily}`;
  return pen.measureText(text).width;
}

/** Round steps that divide a range into about `count` parts. */
export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const values = [];
  for (let value = Math.ceil(low / step - 1e-9) * step; value <= high + step * 1e-9; value += step) values.push(value);
  return values;
}

/** Round values of a logarithmic axis, at most `most`: 1, 2, 5, 10, ... or powers of ten, perhaps not all. */
export function logTicks(low, high, most) {
  const [first, last] = [Math.floor(Math.log10(low)), Math.ceil(Math.log10(high))];
  const tries = [[[1, 2, 5], 1], [[1, 3], 1], [[1], 1], [[1], 2], [[1], 3]];
  const candidates = tries.map(([factors, step]) => {
    const powers = [];
    for (let power = first; power <= last; power += 1) if (power % step === 0) powers.push(10 ** power);
    return powers.flatMap((power) => factors.map((factor) => factor * power)).filter((value) => value >= low && value <= high);
  });
  return candidates.find((some) => some.length <= most) ?? candidates.at(-1);
}

/**
 * Add a chart to a section, and draw it again when its width changes.
 *
 * `draw(svg, width)` fills the SVG and returns its height. Returns a function that draws again.
 */
export function addChart(section, label, caption, draw) {
  const svg = shape("svg", { role: "img", "aria-label": label, class: "chart" });
  const box = element("div", { className: "chart-box" }, svg);
  section.append(element("figure", {}, box, element("figcaption", { className: "small", textContent: caption })));
  let drawn = 0;
  const redraw = () => {
    const width = Math.floor(box.clientWidth);
    if (!width) return;
    drawn = width;
    svg.replaceChildren();
    const height = draw(svg, width);
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.setAttribute("width", width);
    svg.setAttribute("height", height);
  };
  new ResizeObserver(() => { if (Math.floor(box.clientWidth) !== drawn) redraw(); }).observe(box);
  return (text) => {
    if (text) svg.setAttribute("aria-label", text);
    redraw();
  };
}

/** A text of a chart. */
export const label = (text, x, y, attributes = {}) => {
  const node = shape("text", { x, y, ...attributes });
  node.textContent = text;
  return node;
};
