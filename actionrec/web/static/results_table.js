// Table of the compared models, sortable by each column.

import { button, element, millions } from "./page.js";

const number = (value, digits, unit = "") => (value === undefined ? "–" : `${value.toFixed(digits)}${unit}`);
const percent = (share) => number(share === undefined ? undefined : 100 * share, 1);

/** Title, value to sort by, text, and what the title means. */
const COLUMNS = [
  { title: "model", value: (one) => one.model },
  { title: "rank", value: (one) => one.rank, text: (one) => one.rank },
  { title: "top-1 %", value: (one) => one.top1, text: (one) => percent(one.top1), falls: true },
  { title: "95 % interval", value: (one) => one.top1_low, text: (one) => `${percent(one.top1_low)}–${percent(one.top1_high)}`, falls: true },
  { title: "mean class %", value: (one) => one.mean_class, text: (one) => percent(one.mean_class), falls: true },
  { title: "parameters", value: (one) => one.total_params, text: (one) => (one.total_params === undefined ? "–" : millions(one.total_params)) },
  { title: "own parameters", value: (one) => one.parameters, text: (one) => millions(one.parameters) },
  { title: "GFLOPs", value: (one) => one.total_flops, text: (one) => number(one.total_flops === undefined ? undefined : one.total_flops / 1e9, 1) },
  { title: "file to answer", value: (one) => one.total_ms, text: (one) => number(one.total_ms, 0, " ms") },
  { title: "own time", value: (one) => one.latency_ms, text: (one) => number(one.latency_ms, 1, " ms") },
  { title: "memory", value: (one) => one.memory_mb, text: (one) => number(one.memory_mb, 0, " MB") },
  { title: "training", value: (one) => one.train_seconds, text: (one) => number(one.train_seconds, 0, " s") },
];

/** Compare two values; missing ones come last in both directions. */
function compare(a, b, falls) {
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const order = typeof a === "string" ? a.localeCompare(b) : a - b;
  return falls ? -order : order;
}

/** Add the table to a section; `best` is the model to deploy. */
export function showModels(section, { models, best }, state) {
  const body = element("tbody");
  const heads = COLUMNS.map((column) => element("th", { scope: "col" }, button(column.title, () => sort(column), { className: "sort" })));
  let sorted = COLUMNS[1];
  let falls = false;

  function sort(column) {
    falls = column === sorted ? !falls : Boolean(column.falls);
    sorted = column;
    draw();
  }

  function draw() {
    COLUMNS.forEach((column, place) => {
      if (column === sorted) heads[place].setAttribute("aria-sort", falls ? "descending" : "ascending");
      else heads[place].removeAttribute("aria-sort");
    });
    const ordered = [...models].sort((a, b) => compare(sorted.value(a), sorted.value(b), falls) || a.rank - b.rank);
    body.replaceChildren(...ordered.map((one) => row(one, best, state)));
  }

  draw();
  section.append(
    element("div", { className: "scroll sticky", tabIndex: 0, role: "region", ariaLabel: "Table of the models" }, element("table", {}, element("thead", {}, element("tr", {}, ...heads)), body)),
    element("p", { className: "small", textContent: "Select a column's title to sort. Tied: no significant difference from rank 1. 95 % interval: from a bootstrap of whole source videos. Costs are for one clip with the backbone; own, and memory: of the model alone, timed on one core." }),
  );
}

function row(one, best, state) {
  const name = element("th", { scope: "row" }, button(one.model, () => {
    state.change({ model: one.model, answers: "wrong", true: "", predicted: "" });
    document.getElementById("confusions").scrollIntoView();
  }, { className: "link", title: `Confusions of ${one.model}` }));
  if (one.model === best) name.append(" ", element("span", { className: "pill best", textContent: "deploy" }));
  else if (one.tied_with_best) name.append(" ", element("span", { className: "pill", textContent: "tied" }));
  return element("tr", {}, name, ...COLUMNS.slice(1).map((column) => element("td", { textContent: column.text(one) })));
}
