// A model's answer for a clip: label, probabilities, frames, explanation, other models, and the JSON.

import { button, byId, clock, download, element, moment, percent } from "./page.js";
import { explanation } from "./explanation.js";
import { Timeline } from "./timeline.js";

/** Seconds; a longer video gets a timeline, or the offer of one. */
export const LONG = 20;
const KEPT = 5; // classes of each window in the JSON, as of `predict --json`

export class Answer {
  /** `ask`: { explain, compare, timeline }, functions that send a request. */
  constructor(player, ask) {
    this.player = player;
    this.ask = ask;
    this.place = byId("answer");
    this.timeline = null;
  }

  clear() {
    this.timeline = null;
    this.player.forget();
    this.place.classList.remove("stale");
    this.place.replaceChildren();
  }

  /** Mark the shown answer as outdated. */
  wait() {
    this.place.classList.add("stale");
  }

  fresh() {
    this.place.classList.remove("stale");
  }

  /** Show a window of a timeline that is not complete yet. */
  partial(window, about) {
    if (!this.timeline) this.startTimeline(about);
    this.timeline.add(window);
  }

  startTimeline(about) {
    this.clear();
    this.timeline = new Timeline(this.player, about, this.ask.explain);
    this.place.replaceChildren(this.timeline.place);
  }

  show(result, about) {
    if (result.windows) {
      if (!this.timeline) this.startTimeline(about);
      this.timeline.complete(result);
      this.place.replaceChildren(this.timeline.place, ...present(reading(result)), this.foot(result, about));
    } else {
      this.clear();
      this.place.replaceChildren(...this.clip(result, about), this.foot(result, about));
    }
    this.fresh();
  }

  clip(result, about) {
    const { pictures = {} } = result;
    return present(
      element("div", { className: "card" }, ...headline(result), bars(result), calibrated(about.model, result), reading(result)),
      pictures.seconds > LONG && result.start_seconds === undefined ? this.longHint(pictures.seconds) : null,
      pictures.frames ? strip(pictures) : null,
      result.explanation ? this.why(result) : this.explainHint(),
      about.models > 1 ? this.others() : null,
    );
  }

  longHint(seconds) {
    return hint(`This video is ${clock(seconds)} long. A timeline may show more than a single answer.`, button("Show a timeline", this.ask.timeline));
  }

  explainHint() {
    return hint("Which frames mattered, and where in them? This takes a few seconds.", button("Explain this answer", () => this.ask.explain(), { id: "explain" }));
  }

  others() {
    return hint("What do the other models answer for this video?", button("Compare all models", this.ask.compare, { id: "compare" }), { id: "all", tabIndex: -1 });
  }

  why(result) {
    const { seconds } = result.explanation;
    const span = result.start_seconds === undefined ? [0, Math.max(result.pictures?.seconds ?? 0, seconds.at(-1))] : [result.start_seconds, result.end_seconds];
    const piece = result.start_seconds === undefined ? "" : ` at ${clock(result.start_seconds)} – ${clock(result.end_seconds)}`;
    return explanation(result, this.player, span, `Why “${result.explanation.label}”${piece}`);
  }

  /** Show the explanation of a part of the timeline below it. */
  showPiece(result) {
    byId("why")?.remove();
    this.timeline.place.after(this.why(result));
  }

  /** Show the answers of all models in place of the button that asked for them. */
  showAll({ answers }, chosen) {
    const head = ["Model", "Answer", "Probability"].map((text) => element("th", { scope: "col", textContent: text }));
    const rows = answers.map((one) => {
      const name = element("th", { scope: "row", textContent: one.model });
      if (one.error) return element("tr", {}, name, element("td", { colSpan: 2, className: "refused", textContent: one.error }));
      const row = element("tr", {}, name, element("td", {}, one.label, ...present(one.none_of_these ? pill() : null)), element("td", { textContent: percent(one.confidence) }));
      if (one.model === chosen) row.setAttribute("aria-current", "true");
      return row;
    });
    const labels = new Set(answers.filter((one) => !one.error).map((one) => one.label));
    const words = labels.size === 1 ? "All models give the same answer." : `The models give ${labels.size} different answers.`;
    const table = element("table", { className: "all" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
    byId("all")?.replaceWith(element("section", { className: "card", id: "all", tabIndex: -1 }, element("h2", { textContent: "All models" }), element("p", { textContent: words }), table));
  }

  foot(result, { model, seconds }) {
    const words = `${result.model}${model.backbone ? ` on ${model.backbone}` : ""}${seconds === undefined ? "" : `, answered in ${seconds.toFixed(1)} s`}`;
    const save = button("Download as JSON", () => download(`${result.video}.json`, "application/json", `${JSON.stringify(kept(result), null, 2)}\n`), { id: "download", className: "quiet" });
    return element("p", { className: "foot small" }, element("span", { id: "elapsed", textContent: words }), save);
  }
}

const present = (...parts) => parts.filter(Boolean);
const pill = () => element("small", { className: "pill", textContent: "not sure" });
const hint = (text, ...rest) => {
  const properties = rest.at(-1) instanceof Element ? {} : rest.pop();
  return element("div", { className: "card hint", ...properties }, element("p", { textContent: text }), ...rest);
};

/** An answer as `predict --json` gives it. */
export function kept({ pictures, ...result }) {
  if (!result.windows) return result;
  return { ...result, windows: result.windows.map((one) => ({ ...one, top: one.top.slice(0, KEPT) })) };
}

function headline(result) {
  const label = element("p", { className: "big", id: "label" }, result.label, ...present(result.none_of_these ? " " : null, result.none_of_these ? pill() : null));
  const words = [element("p", { className: "small over", textContent: result.video }), label];
  if (result.none_of_these) {
    words.push(element("p", { textContent: `The probability is below ${percent(result.threshold)}, which 95 % of the correct answers on validation clips reach. The video may show none of the classes.` }));
  }
  return words;
}

function bars(result) {
  const rows = result.top.map(({ label, probability }, place) => {
    const fill = element("i", { style: { width: `${100 * probability}%` } });
    const mark = result.threshold > 0 ? element("b", { style: { left: `${100 * result.threshold}%` }, title: `not sure below ${percent(result.threshold)}` }) : null;
    return element("li", { className: place === 0 ? "first" : "" }, element("span", { className: "label", textContent: label }), element("span", { className: "share", textContent: percent(probability) }), element("span", { className: "track", ariaHidden: "true" }, fill, mark));
  });
  return element("ol", { className: "bars" }, ...rows);
}

function calibrated(model, { threshold }) {
  if (model.calibrated === undefined) return null;
  const mark = threshold > 0 ? " Below the mark, the model is not sure." : "";
  return element("p", { className: "small", textContent: `Probabilities: ${model.calibration_note}.${mark}` });
}

/** Notes on the file: damage, and too few frames. */
function reading({ frames_read: read, padded, warning }) {
  const notes = [warning && `This file is damaged: ${warning}. The answer uses the frames that could be read.`, padded > 0 && `The video has only ${read} frames, so ${padded} of the frames that the model saw are repeats.`];
  const text = notes.filter(Boolean).join(" ");
  return text ? element("p", { className: "small notice", id: "reading", textContent: text }) : null;
}

function strip({ frames, aspect, seconds: length }) {
  const figures = frames.map((one) => element("figure", {}, element("img", { src: one.url, alt: "", style: { aspectRatio: aspect } }), element("figcaption", { textContent: moment(one.seconds, length) })));
  const words = `${frames.length} of the frames that the model saw`;
  return element("section", { className: "card" }, element("h2", { textContent: "Frames" }), element("div", { className: "strip", tabIndex: 0, role: "group", ariaLabel: words }, ...figures), element("p", { className: "small", textContent: `${words}, with their times.` }));
}
