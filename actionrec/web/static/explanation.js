// Explanation of an answer: importance of each frame over the video's time, attention, and pictures with important regions.

import { button, element, moment, percent, shape } from "./page.js";

const HEIGHT = 150;
const LEFT = 8;
const RIGHT = 8;
const BOTTOM = 24;
const SHOWN = 3; // moments that the caption names

/** A section with the explanation; `span` is [start, end] of the time axis in seconds. */
export function explanation({ explanation: details, pictures = {} }, player, span, heading) {
  const chart = new Chart(details, player, span);
  const section = element("section", { className: "card", id: "why", tabIndex: -1 },
    element("h2", { textContent: heading }),
    element("p", { className: "small", textContent: `How much each frame supports “${details.label}”: the drop of its log-probability when the model does not see the frame.` }),
    chart.place, legend(details));
  if (pictures.regions?.length) section.append(...regions(pictures, details, player, span));
  const shares = Object.entries(details.stream_shares ?? {}).map(([name, share]) => `${name === "rgb" ? "frames" : "differences between frames"} ${percent(share)}`);
  if (shares.length) section.append(element("p", { className: "small", textContent: `What mattered: ${shares.join(", ")}.` }));
  return section;
}

function legend({ importance, attention, label }) {
  const entries = [element("span", {}, element("i", { className: "for" }), `for “${label}”`)];
  if (importance.some((value) => value < 0)) entries.push(element("span", {}, element("i", { className: "against" }), "against it"));
  if (attention) entries.push(element("span", {}, element("i", { className: "line attention" }), "the model's attention"));
  return element("p", { className: "legend small" }, ...entries);
}

function regions({ regions: frames, aspect }, { label }, player, [start, end]) {
  const clock = (seconds) => moment(seconds, end - start);
  const figures = frames.map((one) => {
    const jump = button("", () => player.seek(one.seconds), { ariaLabel: `Go to ${clock(one.seconds)}` });
    jump.append(element("img", { src: one.url, alt: `Frame at ${clock(one.seconds)} with a heat map`, style: { aspectRatio: aspect } }));
    return element("figure", {}, jump, element("figcaption", { textContent: clock(one.seconds) }));
  });
  return [
    element("h3", { textContent: "Where the model looked" }),
    element("div", { className: "regions" }, ...figures),
    element("p", { className: "small", textContent: `The frame that mattered most in each part of the clip. Bright regions raise the score of “${label}” most (Grad-CAM).` }),
  ];
}

class Chart {
  constructor(details, player, [start, end]) {
    Object.assign(this, { details, player, start, end: Math.max(end, start + 0.1) });
    this.svg = shape("svg", { class: "chart", role: "img", "aria-label": spoken(details, this.end - this.start) });
    this.place = element("div", { className: "chart-place" }, this.svg);
    this.head = shape("line", { class: "playhead-line", y1: 0, y2: HEIGHT - BOTTOM });
    new ResizeObserver(() => this.draw()).observe(this.place);
    this.svg.addEventListener("click", (event) => player.seek(this.secondsAt(event.clientX)));
    player.watch((seconds) => this.move(seconds));
  }

  clock(seconds) {
    return moment(seconds, this.end - this.start);
  }

  x(seconds) {
    return LEFT + ((seconds - this.start) / (this.end - this.start)) * (this.width - LEFT - RIGHT);
  }

  secondsAt(clientX) {
    const share = (clientX - this.svg.getBoundingClientRect().left - LEFT) / (this.width - LEFT - RIGHT);
    return this.start + Math.min(1, Math.max(0, share)) * (this.end - this.start);
  }

  draw() {
    this.width = this.place.clientWidth;
    if (!this.width) return;
    const { seconds, importance, attention } = this.details;
    const high = Math.max(...importance, 0);
    const low = Math.min(...importance, 0);
    const scale = (HEIGHT - BOTTOM - 8) / (high - low || 1);
    const y = (value) => 4 + (high - value) * scale;
    const wide = Math.max(2, (0.7 * (this.x(this.end) - this.x(this.start))) / seconds.length);
    const bars = seconds.map((at, place) => {
      const value = importance[place];
      const bar = shape("rect", { x: this.x(at) - wide / 2, y: y(Math.max(value, 0)), width: wide, height: Math.max(1, Math.abs(value) * scale), class: value < 0 ? "against" : "for" });
      bar.append(shape("title", {}, `${this.clock(at)}: ${value >= 0 ? "+" : "−"}${Math.abs(value).toFixed(2)}`));
      return bar;
    });
    const ticks = Array.from({ length: 5 }, (_, place) => this.start + ((this.end - this.start) * place) / 4);
    const labels = ticks.map((at, place) => shape("text", { x: this.x(at), y: HEIGHT - 6, "text-anchor": ["start", "middle", "middle", "middle", "end"][place] }, this.clock(at)));
    const line = attention && shape("polyline", { class: "attention", points: seconds.map((at, place) => `${this.x(at)},${4 + (HEIGHT - BOTTOM - 8) * (1 - attention[place] / Math.max(...attention))}`).join(" ") });
    this.svg.setAttribute("width", this.width);
    this.svg.setAttribute("height", HEIGHT);
    this.svg.replaceChildren(...bars, shape("line", { x1: LEFT, x2: this.width - RIGHT, y1: y(0), y2: y(0), class: "zero" }), ...(line ? [line] : []), ...labels, this.head);
    this.move(this.at ?? this.start);
  }

  move(seconds) {
    this.at = seconds;
    if (!this.width) return;
    const x = this.x(Math.min(this.end, Math.max(this.start, seconds)));
    this.head.setAttribute("x1", x);
    this.head.setAttribute("x2", x);
  }
}

function spoken({ label, seconds, importance }, length) {
  const order = importance.map((value, place) => [value, seconds[place]]).sort((one, other) => other[0] - one[0]).slice(0, SHOWN);
  return `Importance of each frame for ${label}. Most important: ${order.map(([, at]) => moment(at, length)).join(", ")}.`;
}
