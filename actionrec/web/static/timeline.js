// Timeline: runs of the same answer as coloured bands and a list, and a plot of all classes.

import { clock, element, percent } from "./page.js";
import { plot } from "./plot.js";

// The colours of actionrec/plots/timeline.py, which the server uses in the plot below.
const COLOURS = [
  "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c7a00",
  "#80b9d9", "#f3cf80", "#80cfb9", "#e6bcd3", "#eaaf80", "#abdaf4", "#c6bd80",
];
const NONE = "#9aa0a6";

export function timeline(result, player, seek) {
  const { runs, pictures = {} } = result;
  const answers = [...new Set(runs.filter((run) => !run.none_of_these).map((run) => run.answer))];
  const colour = (run) => (run.none_of_these ? NONE : COLOURS[answers.indexOf(run.answer) % COLOURS.length]);
  const end = runs.at(-1).end_seconds;
  const times = (run) => `${clock(run.start_seconds)} – ${clock(run.end_seconds)}`;

  const band = element("div", { className: "band", ariaHidden: "true" }, ...runs.map((run) => {
    const piece = element("span", { title: `${times(run)}: ${run.headline}`, style: { background: colour(run), width: `${(100 * (run.end_seconds - run.start_seconds)) / end}%` } });
    piece.addEventListener("click", () => seek(run.start_seconds));
    return piece;
  }));
  const ends = element("div", { className: "ends small", ariaHidden: "true" }, element("span", { textContent: clock(runs[0].start_seconds) }), element("span", { textContent: clock(end) }));
  const rows = runs.map((run, place) => {
    const picture = pictures.frames?.[place];
    const row = element("button", { type: "button" },
      picture ? element("img", { src: picture.url, alt: "" }) : element("span", {}),
      element("span", { className: "when", textContent: times(run) }),
      element("span", { className: "what" }, element("i", { style: { background: colour(run) } }), run.headline),
      element("span", { className: "share", textContent: percent(run.confidence) }));
    row.addEventListener("click", () => seek(run.start_seconds));
    return element("li", {}, row);
  });
  const parts = [
    element("div", { className: "card" },
      element("p", { className: "small over", textContent: result.video }),
      element("p", { className: "big", id: "label", textContent: summary(runs, answers) }),
      player, band, ends, element("ol", { className: "runs" }, ...rows)),
  ];
  if (pictures.timeline) {
    const words = "The answers as a band, and below it each class's probability over time.";
    parts.push(plot(pictures.timeline, "All classes", words));
  }
  return parts;
}

function summary(runs, answers) {
  if (runs.length === 1) return runs[0].headline;
  return `${answers.length} ${answers.length === 1 ? "action" : "actions"} in ${runs.length} parts`;
}
