// Several files: predicted one after the other, with a table of the answers and a CSV.

import { button, byId, csv, download, element, percent } from "./page.js";
import { send } from "./send.js";

const PARALLEL = 2; // requests at a time: one is sent while another is predicted

export class Batch {
  /** `open(file)`: show one file with its video. */
  constructor(files, { model, tooLarge, open, ended }) {
    Object.assign(this, { files, model, tooLarge, open, ended });
    this.answers = new Map(); // place -> { result } or { error }
    this.next = 0;
    this.running = new Set();
    this.build();
    for (let one = 0; one < PARALLEL; one += 1) this.start();
  }

  build() {
    this.summary = element("p", { role: "status" });
    this.stopper = button("Stop", () => this.stop(), { className: "quiet" });
    this.saver = button("Save as CSV", () => download("predictions.csv", "text/csv", this.csv()), { className: "quiet", id: "batch-csv" });
    const head = ["Video", "Answer", "Probability"].map((text) => element("th", { scope: "col", textContent: text }));
    this.rows = this.files.map((file) => {
      const name = button(file.name, () => this.open(file), { className: "link", title: "Show this video and its answer" });
      return element("tr", {}, element("th", { scope: "row" }, name), element("td", { className: "waiting", textContent: "waiting" }), element("td", {}));
    });
    const table = element("table", { className: "all" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...this.rows));
    this.place = element("section", { className: "card", id: "batch" }, element("h2", { textContent: `${this.files.length} videos` }), this.summary,
      element("div", { className: "ways" }, this.stopper, this.saver), table);
    byId("answer").replaceChildren(this.place);
    this.tell();
  }

  start() {
    if (this.stopped) return;
    const place = this.next;
    if (place >= this.files.length) return;
    this.next += 1;
    const file = this.files[place];
    if (this.tooLarge(file)) {
      this.finish(place, { error: this.tooLarge(file) });
      return;
    }
    const fields = new FormData();
    fields.append("video", file, file.name);
    fields.append("model", this.model);
    const cell = this.rows[place].children[1];
    const request = send(fields, "predict", {
      sending: (share) => { cell.textContent = share < 1 ? `sending, ${Math.round(100 * share)} %` : "predicting"; },
      working: (step) => { cell.textContent = step.place ? `waiting, place ${step.place}` : "predicting"; },
      waiting: (seconds) => { cell.textContent = `server full, next try in ${seconds} s`; },
      succeeded: (result) => this.finish(place, { result }),
      failed: (error) => this.finish(place, { error }),
      ended: () => this.running.delete(request),
    });
    this.running.add(request);
  }

  finish(place, answer) {
    this.answers.set(place, answer);
    const [, words, share] = this.rows[place].children;
    words.className = answer.error ? "refused" : "";
    words.replaceChildren(...(answer.error ? [answer.error] : answerNodes(answer.result)));
    share.textContent = answer.error ? "" : percent(answer.result.confidence);
    this.tell();
    this.start();
    if (this.answers.size === this.files.length) this.ended();
  }

  tell() {
    const failed = [...this.answers.values()].filter((one) => one.error).length;
    const done = this.answers.size;
    this.summary.textContent = `${done} of ${this.files.length} done${failed ? `, ${failed} could not be predicted` : ""}${this.stopped ? ", stopped" : ""}.`;
    this.stopper.hidden = this.stopped || done === this.files.length;
    this.saver.disabled = !done;
  }

  stop() {
    this.stopped = true;
    this.running.forEach((request) => request.abort());
    for (const row of this.rows) if (row.children[1].className === "waiting") row.children[1].textContent = "not predicted";
    this.tell();
    this.saver.focus();
  }

  csv() {
    const rows = [...this.answers].sort(([one], [other]) => one - other).map(([place, { result, error }]) => [this.files[place].name, result?.label, result?.confidence.toFixed(6), result?.none_of_these, result?.warning, error]);
    return csv([["video", "label", "probability", "none_of_these", "warning", "error"], ...rows]);
  }
}

const answerNodes = (result) => [result.label, ...(result.none_of_these ? [" ", element("small", { className: "pill", textContent: "not sure" })] : []), ...(result.warning ? [element("small", { textContent: ` (damaged: ${result.warning})` })] : [])];
