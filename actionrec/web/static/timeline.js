// Timeline: a track of segments with a curve of confidence, a list, and the player, all in step.

import { button, clock, download, element, percent, shape } from "./page.js";
import { asCsv, asSrt, asVtt, segmentsOf, surest, times } from "./segments.js";

// The colours of actionrec/plots/timeline.py.
const COLOURS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7a00",
  "#80b9d9", "#f3cf80", "#80cfb9", "#e6bcd3", "#eaaf80", "#abdaf4", "#c6bd80",
];
const NONE = "#9aa0a6";

const HEIGHT = 96; // pixels of the curve
const ZOOMS = [1, 2, 4, 8, 16, 32];
const PICTURES = 60; // the most rows with a picture
const NEAR = 1; // seconds: pictures come once a second

export class Timeline {
  /**
   * `about`: { video, stride, seconds } of the request; `seconds` is 0 if the length is unknown.
   * `explain(window)`: explain one window of a segment.
   */
  constructor(player, about, explain) {
    this.player = player;
    this.about = about;
    this.explain = explain;
    this.windows = [];
    this.pictures = [];
    this.threshold = this.usual = null; // the model's, which comes with the first window
    this.zoom = 1;
    this.at = 0;
    this.colours = new Map();
    this.build();
    player.watch((seconds) => this.move(seconds));
  }

  build() {
    this.title = element("p", { className: "big", id: "label" });
    this.band = element("div", { className: "band", ariaHidden: "true" });
    this.curve = shape("svg", { class: "curve", "aria-hidden": "true", preserveAspectRatio: "none" });
    this.axis = element("div", { className: "axis small", ariaHidden: "true" });
    this.head = element("div", { className: "playhead", ariaHidden: "true" });
    this.track = element("div", { className: "track-inside", tabIndex: 0, role: "slider", ariaLabel: "Position in the video" }, this.band, element("div", { className: "curve-place", ariaHidden: "true" }, this.curve, element("small", { textContent: "100 %" }), element("small", { textContent: "0 %" })), this.axis, this.head);
    this.track.addEventListener("click", (event) => this.clicked(event));
    this.track.addEventListener("keydown", (event) => this.pressed(event));
    this.scroller = element("div", { className: "track-scroll" }, this.track);
    this.legend = element("p", { className: "legend small" });
    this.list = element("ol", { className: "runs" });
    this.place = element("div", { className: "card timeline" },
      element("p", { className: "small over", textContent: this.about.video }), this.title, this.scroller, this.legend, this.controls(), this.list, this.exports());
  }

  controls() {
    this.slider = element("input", { type: "range", min: 0, max: 100, step: 1, id: "threshold" });
    this.level = element("output", { htmlFor: "threshold" });
    this.reset = button("Reset", () => { this.setThreshold(this.usual); this.slider.focus(); }, { className: "quiet" });
    this.slider.addEventListener("input", () => this.setThreshold(this.slider.value / 100, true));
    this.zoomOut = button("−", () => this.setZoom(-1), { className: "quiet", ariaLabel: "Zoom out", disabled: true });
    this.zoomIn = button("+", () => this.setZoom(1), { className: "quiet", ariaLabel: "Zoom in" });
    return element("div", { className: "controls" },
      element("label", {}, element("span", { textContent: "Not sure below" }), this.slider, this.level), this.reset,
      element("span", { className: "zooms" }, element("span", { className: "small", textContent: "Zoom" }), this.zoomOut, this.zoomIn));
  }

  setThreshold(threshold, byHand = false) {
    this.threshold = threshold;
    if (!byHand) this.slider.value = Math.round(100 * threshold);
    this.level.textContent = `${Math.round(100 * threshold)} %`;
    this.reset.hidden = threshold === this.usual;
    this.draw();
  }

  exports() {
    const name = this.about.video;
    const save = (suffix, type, text) => button(suffix.toUpperCase(), () => download(`${name}.${suffix}`, type, text()), { className: "quiet" });
    return element("p", { className: "small exports" }, element("span", { textContent: "Save the segments as " }),
      save("csv", "text/csv", () => asCsv(name, this.segments)), save("srt", "application/x-subrip", () => asSrt(this.segments)), save("vtt", "text/vtt", () => asVtt(this.segments)));
  }

  /** Add a window that was predicted just now. */
  add(window) {
    this.windows.push(window);
    this.learn();
    if (!this.due) this.due = requestAnimationFrame(() => { this.due = null; this.draw(); });
  }

  /** Take the complete answer. */
  complete({ windows, pictures = {} }) {
    this.windows = windows;
    this.pictures = pictures.frames ?? [];
    this.aspect = pictures.aspect ?? 1;
    this.about.seconds = windows.at(-1).end_seconds;
    this.learn();
    this.draw();
  }

  /** Take the model's threshold. */
  learn() {
    if (this.usual !== null) return;
    this.usual = this.windows[0].threshold;
    this.setThreshold(this.usual);
  }

  get end() {
    return Math.max(this.about.seconds, this.windows.at(-1)?.end_seconds ?? 0) || 1;
  }

  draw() {
    if (!this.windows.length) {
      this.title.textContent = "Predicting…";
      return;
    }
    this.segments = segmentsOf(this.windows, this.threshold);
    for (const one of this.segments) if (!one.unsure && !this.colours.has(one.answer)) this.colours.set(one.answer, COLOURS[this.colours.size % COLOURS.length]);
    this.title.replaceChildren(...headline(this.segments));
    this.drawBand();
    this.drawCurve();
    this.drawLegend();
    this.drawList();
    this.move(this.at, true);
  }

  colour(segment) {
    return segment.unsure ? NONE : this.colours.get(segment.answer);
  }

  drawBand() {
    this.band.replaceChildren(...this.segments.map((one) => element("span", { title: `${times(one)}: ${name(one)}`, style: { background: this.colour(one), left: `${(100 * one.start) / this.end}%`, width: `${(100 * (one.end - one.start)) / this.end}%` } })));
  }

  /** Probability of each window's top class, and the threshold. */
  drawCurve() {
    const wide = 1000;
    const x = (seconds) => ((wide * seconds) / this.end).toFixed(2);
    const y = (share) => (HEIGHT * (1 - share)).toFixed(2);
    const points = this.windows.map((one) => `${x((one.start_seconds + one.end_seconds) / 2)},${y(one.confidence)}`);
    const level = y(this.threshold);
    this.curve.setAttribute("viewBox", `0 0 ${wide} ${HEIGHT}`);
    this.curve.replaceChildren(
      shape("line", { x1: 0, x2: wide, y1: level, y2: level, class: "threshold" }),
      shape("polyline", { points: points.join(" "), class: "confidence" }),
      ...(points.length === 1 ? [shape("line", { x1: 0, x2: wide, y1: y(this.windows[0].confidence), y2: y(this.windows[0].confidence), class: "confidence" })] : []));
    const parts = 5 * this.zoom;
    this.axis.replaceChildren(...Array.from({ length: parts }, (_, place) => element("span", { textContent: clock((this.end * place) / parts), style: { left: `${(100 * place) / parts}%` } })));
  }

  drawLegend() {
    const answers = [...new Set(this.segments.map((one) => (one.unsure ? null : one.answer)))];
    const entries = answers.map((answer) => element("span", {}, element("i", { style: { background: answer === null ? NONE : this.colours.get(answer) } }), answer ?? "not sure"));
    this.legend.replaceChildren(...entries, element("span", {}, element("i", { className: "line" }), "probability of the answer"), element("span", {}, element("i", { className: "line dashed" }), "threshold"));
  }

  drawList() {
    const focused = [...this.list.querySelectorAll("button")].indexOf(document.activeElement);
    this.rows = this.segments.map((one, place) => {
      const picture = place < PICTURES ? this.picture(one) : null;
      const jump = element("button", { type: "button", className: "jump" },
        picture ? element("img", { src: picture.url, alt: "", style: { aspectRatio: this.aspect } }) : null,
        element("span", { className: "when", textContent: times(one) }),
        element("span", { className: "what" }, element("i", { style: { background: this.colour(one) } }), one.answer, one.unsure ? element("small", { className: "pill", textContent: "not sure" }) : null),
        element("span", { className: "share", textContent: percent(one.confidence) }));
      jump.addEventListener("click", () => this.go(one.start, true));
      const why = button("Explain", () => this.explain(surest(one), one), { className: "quiet", ariaLabel: `Explain this segment, ${times(one)}` });
      return element("li", {}, jump, why);
    });
    this.list.replaceChildren(...this.rows);
    if (focused >= 0) this.list.querySelectorAll("button")[focused]?.focus({ preventScroll: true });
  }

  /** The received picture nearest to a segment's middle; none if it is far from the segment. */
  picture({ start, end }) {
    const middle = (start + end) / 2;
    const near = this.pictures.filter((one) => one.seconds > start - NEAR && one.seconds < end + NEAR);
    return near.reduce((best, one) => (best && Math.abs(best.seconds - middle) <= Math.abs(one.seconds - middle) ? best : one), null);
  }

  /** Move the playhead, and mark the segment that plays. */
  move(seconds, redrawn = false) {
    this.at = seconds;
    const share = Math.min(1, seconds / this.end);
    this.head.style.left = `${100 * share}%`;
    if (!this.segments) return;
    const place = Math.max(0, this.segments.findLastIndex((one) => one.start <= seconds + 1e-3));
    const one = this.segments[place];
    this.track.ariaValueMin = "0";
    this.track.ariaValueMax = this.end.toFixed(1);
    this.track.ariaValueNow = Math.min(seconds, this.end).toFixed(1);
    this.track.ariaValueText = `${clock(seconds)}, ${name(one)}, ${percent(one.confidence)}`;
    if (!redrawn && place === this.active && this.rows[place]?.ariaCurrent) return;
    this.active = place;
    this.rows.forEach((row, index) => { if (index === place) row.ariaCurrent = "true"; else row.removeAttribute("aria-current"); });
    [...this.band.children].forEach((piece, index) => piece.classList.toggle("active", index === place));
    if (!redrawn) this.follow(this.rows[place], share);
  }

  /** Scroll list and track, but not the page, to the segment that plays. */
  follow(row, share) {
    if (row.offsetTop < this.list.scrollTop || row.offsetTop + row.offsetHeight > this.list.scrollTop + this.list.clientHeight) this.list.scrollTop = row.offsetTop - this.list.clientHeight / 3;
    const x = share * this.track.offsetWidth;
    if (x < this.scroller.scrollLeft || x > this.scroller.scrollLeft + this.scroller.clientWidth) this.scroller.scrollLeft = x - this.scroller.clientWidth / 4;
  }

  clicked(event) {
    const box = this.track.getBoundingClientRect();
    this.go(((event.clientX - box.left) / box.width) * this.end, true);
  }

  go(seconds, play = false) {
    const to = Math.min(this.end, Math.max(0, seconds));
    if (this.player.playable) this.player.seek(to, { play });
    this.move(to);
  }

  pressed(event) {
    const step = this.about.stride;
    const segment = (by) => this.segments?.[Math.min(this.segments.length - 1, Math.max(0, this.active + by))].start ?? 0;
    const keys = {
      ArrowLeft: () => this.go(this.at - step), ArrowRight: () => this.go(this.at + step), ArrowDown: () => this.go(this.at - step), ArrowUp: () => this.go(this.at + step),
      PageDown: () => this.go(segment(1)), PageUp: () => this.go(segment(-1)), Home: () => this.go(0), End: () => this.go(this.end),
      " ": () => this.player.toggle(), Enter: () => this.player.toggle(), "+": () => this.setZoom(1), "-": () => this.setZoom(-1),
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  setZoom(by) {
    const place = Math.min(ZOOMS.length - 1, Math.max(0, ZOOMS.indexOf(this.zoom) + by));
    this.zoom = ZOOMS[place];
    this.track.style.width = `${100 * this.zoom}%`;
    this.zoomOut.disabled = place === 0;
    this.zoomIn.disabled = place === ZOOMS.length - 1;
    this.drawCurve();
    this.scroller.scrollLeft = (this.at / this.end) * this.track.offsetWidth - this.scroller.clientWidth / 2;
  }
}

const name = (one) => (one.unsure ? `not sure: ${one.answer}` : one.answer);

/** The answers in order of time; if none is sure, the likeliest. */
function headline(segments) {
  const sure = [...new Set(segments.filter((one) => !one.unsure).map((one) => one.answer))];
  if (!sure.length) {
    const longest = segments.reduce((best, one) => (one.end - one.start > best.end - best.start ? one : best));
    return [longest.answer, " ", element("small", { className: "pill", textContent: "not sure" })];
  }
  return [sure.length > 4 ? `${sure.slice(0, 3).join(", ")} and ${sure.length - 3} more` : sure.join(", ")];
}
