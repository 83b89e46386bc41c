// Choice of a model, with its accuracy and cost.

import { aloud, ask, byId, element, millions } from "./page.js";

const WINDOW = 4; // seconds, for a model that does not know its clips' length

export class Models {
  constructor(changed) {
    this.changed = changed;
    this.known = [];
    this.chosen = "";
  }

  /** Load the list, and choose the model `name`; if there is none, the first. */
  async load(name) {
    const response = await ask("models");
    this.known = response.models;
    this.setting = response.setting;
    this.chosen = (this.known.find((one) => one.model === name) ?? this.known[0]).model;
    this.draw();
    return response;
  }

  /** Load the list again: a model may have been found damaged. */
  async refresh() {
    const before = JSON.stringify(this.known);
    const response = await ask("models").catch(() => null);
    if (response && JSON.stringify(response.models) !== before) {
      this.known = response.models;
      this.draw();
    }
  }

  about(name) {
    return this.known.find((one) => one.model === name) ?? {};
  }

  /** Usual seconds of a window of the chosen model. */
  get window() {
    return this.about(this.chosen).window_seconds ?? WINDOW;
  }

  draw() {
    byId("models").hidden = false;
    const focused = document.activeElement?.name === "model";
    byId("choice").replaceChildren(this.known.length === 1 ? this.single(this.known[0]) : this.list());
    if (focused) byId("choice").querySelector(":checked")?.focus();
    byId("about").textContent = this.notes();
  }

  single(one) {
    const figures = [one.top1 === undefined ? null : accuracy(one), one.parameters && `${millions(one.parameters)} parameters`];
    return element("p", { className: "single" }, element("strong", { textContent: one.model }), ` ${figures.filter(Boolean).join(" · ")}`);
  }

  list() {
    const compared = this.known.some((one) => one.top1 !== undefined);
    const head = element("div", { className: "row head", ariaHidden: "true" }, element("span", { textContent: "" }), ...(compared ? ["top-1", "params", "latency"] : ["params"]).map((text) => element("span", { textContent: text })));
    return element("div", { className: `choice ${compared ? "" : "bare"}` }, head, ...this.known.map((one) => this.row(one, compared)));
  }

  row(one, compared) {
    const input = element("input", { type: "radio", name: "model", value: one.model, checked: one.model === this.chosen });
    input.addEventListener("change", () => { this.chosen = one.model; this.draw(); this.changed(); });
    const cell = (words, label, ...text) => element("span", { className: "figure", title: label }, aloud(` ${words} `), ...text);
    const figures = compared
      ? [one.top1 === undefined ? cell("top-1", "not compared", "–") : cell("top-1", "top-1 on test clips, with its 95 % interval", `${(100 * one.top1).toFixed(0)} %`, element("small", { textContent: ` ${interval(one)}` }))]
      : [];
    figures.push(cell("parameters", "parameters", one.parameters ? millions(one.parameters) : "–"));
    if (compared) figures.push(cell("latency", "per clip, without the backbone", one.latency_ms === undefined ? "–" : `${one.latency_ms.toFixed(1)} ms`));
    const name = element("span", { className: "name" }, input, element("span", {}, ...breakable(one.model)));
    const row = element("label", { className: "row" }, name, ...figures);
    if (one.error) row.append(element("small", { className: "refused", textContent: one.error }));
    return row;
  }

  notes() {
    const one = this.about(this.chosen);
    const notes = [];
    if (one.top1 !== undefined && this.setting.test_clips) {
      notes.push(`Top-1 on ${this.setting.test_clips} test clips of ${this.setting.dataset}, with its 95 % interval; latency of the model without its ${one.backbone}, on one core.${one.total_ms === undefined ? "" : ` From file to answer, a clip takes ${one.total_ms.toFixed(0)} ms; decoding and ${one.backbone} take equally long for all models.`}`);
    }
    if (this.known.length > 1 && this.known.every((two) => two.tied_with_best)) notes.push("The test finds no difference between these models.");
    if (one.streams?.includes("diff")) notes.push(`It looks at ${one.streams.length > 1 ? "frames and at " : ""}differences of neighbouring frames.`);
    if (one.untrained_backbone) notes.push("The backbone is untrained: it follows drawn shapes, and does not recognise real footage.");
    return notes.join(" ");
  }
}

/** A name that may wrap after each underscore. */
const breakable = (name) => name.split(/(?<=_)/).flatMap((part) => [part, element("wbr")]);
const interval = (one) => `${(100 * one.top1_low).toFixed(0)}–${(100 * one.top1_high).toFixed(0)}`;
const accuracy = (one) => `top-1 ${(100 * one.top1).toFixed(1)} % (${interval(one)})`;
