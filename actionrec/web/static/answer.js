// A model's answer for a video: label, bars, frames, explanation, timeline and JSON download.

import { byId, clock, element, percent } from "./page.js";
import { forget, plot } from "./plot.js";
import { timeline } from "./timeline.js";

const LONG = 20; // seconds; for longer videos a timeline is offered

export class Answer {
  constructor({ explain, compare, timeline: askTimeline }) {
    this.explain = explain;
    this.compare = compare;
    this.askTimeline = askTimeline;
    this.place = byId("answer");
    this.idle = [...this.place.childNodes];
    this.player = null;
  }

  clear() {
    this.place.classList.remove("stale");
    this.place.replaceChildren(...(this.player ? [] : this.idle));
  }

  /** Mark the shown answer as outdated. */
  wait() {
    this.place.classList.add("stale");
  }

  /** Prepare the player for a file or sample; browsers that cannot play it show only the frames. */
  play({ file, sample }) {
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = file ? URL.createObjectURL(file) : null;
    const player = element("video", { controls: true, muted: true, playsInline: true, preload: "metadata", hidden: true, className: "player" });
    player.addEventListener("loadeddata", () => { player.hidden = !player.videoWidth; });
    player.addEventListener("error", () => { player.hidden = true; });
    player.src = this.url ?? `samples/${sample}/video`;
    this.player = player;
    this.clear();
  }

  show(result, seconds, models) {
    const about = models.about(result.model);
    this.place.classList.remove("stale");
    forget();
    const parts = result.runs ? this.film(result) : [...this.clip(result, about), models.known.length > 1 ? this.others() : null].filter(Boolean);
    this.place.replaceChildren(...parts, this.foot(result, seconds, about));
  }

  clip(result, about) {
    const { pictures = {} } = result;
    return [
      element("div", { className: "card" }, ...headline(result), bars(result), calibrated(about, result), reading(result), this.player),
      pictures.seconds > LONG ? this.longHint(pictures.seconds) : null,
      pictures.frames ? strip(pictures.frames, `${pictures.frames.length} of the frames that the model saw`) : null,
      this.why(result),
    ].filter(Boolean);
  }

  film(result) {
    const seek = (at) => { if (!this.player.hidden) { this.player.currentTime = at; this.player.scrollIntoView({ block: "nearest" }); } };
    return [...timeline(result, this.player, seek), reading(result)].filter(Boolean);
  }

  longHint(seconds) {
    const button = element("button", { type: "button", textContent: "Show a timeline" });
    button.addEventListener("click", this.askTimeline);
    return element("div", { className: "card hint" }, element("p", { textContent: `This video is ${clock(seconds)} long. A timeline may tell more than one answer for all of it.` }), button);
  }

  why(result) {
    const picture = result.pictures?.explanation;
    if (picture) {
      const shares = Object.entries(result.explanation.stream_shares ?? {}).map(([name, share]) => `${name} ${percent(share)}`);
      const attention = result.explanation.attention ? " The line is the model's attention over time." : "";
      const words = `The frames that mattered most for “${result.explanation.label}”, where in them, and how much the log-probability falls without each frame.${attention}${shares.length ? ` What mattered of the frames (rgb) and their differences (diff): ${shares.join(", ")}.` : ""}`;
      return plot(picture, "Why", words, { id: "why", tabIndex: -1 });
    }
    const button = element("button", { type: "button", id: "explain", textContent: "Explain this answer" });
    button.addEventListener("click", this.explain);
    return element("div", { className: "card hint" }, element("p", { textContent: "Which frames mattered, and where in them? This takes a few seconds." }), button);
  }

  others() {
    const button = element("button", { type: "button", id: "compare", textContent: "Compare all models" });
    button.addEventListener("click", this.compare);
    return element("div", { className: "card hint", id: "all", tabIndex: -1 }, element("p", { textContent: "What do the other models answer for this video?" }), button);
  }

  /** Show the answers of all models in place of the button that asked for them. */
  showAll({ answers }, chosen) {
    const head = ["Model", "Answer", "Probability"].map((text) => element("th", { scope: "col", textContent: text }));
    const rows = answers.map((one) => {
      const name = element("th", { scope: "row", textContent: one.model });
      if (one.error) return element("tr", {}, name, element("td", { colSpan: 2, className: "refused", textContent: `Cannot be used: ${one.error}` }));
      const row = element("tr", {}, name, element("td", { textContent: one.none_of_these ? `${one.label}, unsure` : one.label }), element("td", { textContent: percent(one.confidence) }));
      if (one.model === chosen) row.setAttribute("aria-current", "true");
      return row;
    });
    const labels = new Set(answers.filter((one) => !one.error).map((one) => one.label));
    const words = labels.size === 1 ? "All models give the same answer." : `The models give ${labels.size} different answers.`;
    const table = element("table", { className: "all" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    const section = element("section", { className: "card", id: "all", tabIndex: -1 }, element("h2", { textContent: "All models" }), element("p", { textContent: words }), table);
    document.getElementById("all")?.replaceWith(section);
  }

  foot(result, seconds, about) {
    const { pictures, ...kept } = result;
    const url = URL.createObjectURL(new Blob([`${JSON.stringify(kept, null, 2)}\n`], { type: "application/json" }));
    const link = element("a", { href: url, download: `${result.video}.json`, textContent: "Download as JSON", id: "download" });
    const words = `${result.model}${about.backbone ? ` on ${about.backbone}` : ""}, answered in ${seconds.toFixed(1)} s`;
    return element("p", { className: "foot small" }, element("span", { id: "elapsed", textContent: words }), link);
  }
}

function headline(result) {
  const words = [element("p", { className: "small over", textContent: result.video }), element("p", { className: "big", id: "label", textContent: result.headline })];
  if (result.none_of_these) {
    words.push(element("p", { textContent: `This answer is unsure: 19 of 20 correct answers on validation clips have a probability of ${percent(result.threshold)} or more. The video may show none of the classes.` }));
  }
  return words;
}

function bars(result) {
  const rows = result.top.map(({ label, probability }, place) => {
    const fill = element("i", { style: { width: `${100 * probability}%` } });
    const mark = result.threshold > 0 ? element("b", { style: { left: `${100 * result.threshold}%` }, title: `answers are unsure below ${percent(result.threshold)}` }) : null;
    return element("li", { className: place === 0 ? "first" : "" }, element("span", { className: "label", textContent: label }), element("span", { className: "share", textContent: percent(probability) }), element("span", { className: "track", ariaHidden: "true" }, fill, mark));
  });
  return element("ol", { className: "bars" }, ...rows);
}

function calibrated(about, { threshold }) {
  if (about.calibrated === undefined) return null;
  const mark = threshold > 0 ? " Below the mark, answers are unsure." : "";
  return element("p", { className: "small", textContent: `Probabilities: ${about.calibration_note}.${mark}` });
}

/** Notes on the file: damage, and too few frames. */
function reading({ frames_read: read, padded, warning }) {
  const notes = [warning && `This file is damaged: ${warning}.`, padded > 0 && `The video has only ${read} frames, so ${padded} of the frames that the model saw are repeats.`];
  const text = notes.filter(Boolean).join(" ");
  return text ? element("p", { className: "small", id: "reading", textContent: text }) : "";
}

export function strip(frames, words) {
  const pictures = frames.map((one) => element("figure", {}, element("img", { src: one.url, alt: "" }), element("figcaption", { textContent: one.frame === undefined ? clock(one.seconds) : one.frame })));
  return element("section", { className: "card" }, element("h2", { textContent: "Frames" }), element("div", { className: "strip", tabIndex: 0, role: "group", ariaLabel: words }, ...pictures), element("p", { className: "small", textContent: `${words}, with their numbers.` }));
}
