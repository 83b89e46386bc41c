// Confusion matrix of a model, and its most frequent confusions; each leads to its clips.

import { ask, button, element, whole } from "./page.js";

const FIRST_PAIRS = 8;
const ROOMY = 12; // at most so many classes get larger cells

/** Fill the section; it follows the state's model. */
export function showConfusions(section, choices, state) {
  const model = element("select", { id: "confusion-model" }, ...choices.models.map((name) => element("option", { value: name, textContent: name })));
  const body = element("div", { className: "confusion-body" });
  section.append(element("p", { className: "field" }, element("label", { htmlFor: "confusion-model", textContent: "Model" }), model), body);
  let currentModel = null;

  async function show(name) {
    if (name === currentModel) return;
    currentModel = name;
    model.value = name;
    body.classList.add("stale");
    try {
      const confusions = await ask(`confusion?model=${encodeURIComponent(name)}`);
      if (currentModel === name) body.replaceChildren(...contents(confusions, open));
    } catch (error) {
      if (currentModel === name) body.replaceChildren(element("p", { className: "error", textContent: error.message }));
    }
    body.classList.remove("stale");
  }

  function open(label, predicted) {
    state.change({ model: currentModel, true: label, predicted, answers: label === predicted ? "correct" : "wrong", min_confidence: "", max_confidence: "", group: "", suspect: "", disagree: "" });
    const clips = document.getElementById("clips");
    clips.scrollIntoView();
    clips.focus({ preventScroll: true });
  }

  model.addEventListener("change", () => state.change({ model: model.value, true: "", predicted: "" }));
  state.follow((values) => show(values.model));
  show(state.values.model);
}

function contents(confusions, open) {
  const wrong = confusions.tests - confusions.correct;
  const summary = `${confusions.model} gets ${whole(confusions.correct)} of ${whole(confusions.tests)} test clips right${wrong ? ` and ${whole(wrong)} wrong` : ""}.`;
  const list = confusions.pairs.length ? pairs(confusions.pairs, open) : element("p", { textContent: "This model confuses no classes." });
  const parts = [element("div", {}, element("p", { textContent: summary }), ...(confusions.pairs.length ? [element("h3", { textContent: "Most frequent confusions" })] : []), list)];
  if (confusions.classes.length) parts.push(matrix(confusions, open));
  return parts;
}

function pairs(all, open) {
  const item = (one) => element("li", {}, button("", () => open(one.true, one.predicted), { className: "pair" }));
  const list = element("ol", { className: "pairs" }, ...all.map((one) => {
    const line = item(one);
    line.firstChild.append(
      element("span", { className: "pair-names" }, element("b", { textContent: one.true }), element("span", { textContent: " predicted as " }), element("b", { textContent: one.predicted })),
      element("span", { className: "share", textContent: `${whole(one.clips)} of ${whole(one.of)}` }),
    );
    return line;
  }));
  const rest = [...list.children].slice(FIRST_PAIRS);
  if (!rest.length) return list;
  for (const line of rest) line.hidden = true;
  const more = button(`Show ${rest.length} more`, () => {
    for (const line of rest) line.hidden = false;
    more.remove();
    rest[0].firstChild.focus();
  }, { className: "quiet" });
  return element("div", {}, list, more);
}

/** A grid with one stop for the Tab key; arrow keys move between the cells that have clips. */
function matrix({ model, classes, clips, counts, class_count: classCount }, open) {
  const cells = counts.map((row, place) => row.map((count, column) => cell(count, clips[place], classes[place], classes[column], open)));
  const head = element("tr", {}, element("th", { scope: "col", className: "corner" }, element("span", { textContent: "true" }), element("span", { textContent: "predicted" })), ...classes.map((name) => element("th", { scope: "col" }, element("span", { className: "upright", textContent: name, title: name }))));
  const rows = classes.map((name, place) => element("tr", {}, element("th", { scope: "row", textContent: name, title: name }), ...cells[place]));
  const table = element("table", { className: classes.length <= ROOMY ? "matrix roomy" : "matrix", ariaLabel: `Confusion matrix of ${model}` }, element("thead", {}, head), element("tbody", {}, ...rows));
  table.setAttribute("role", "grid");
  const buttons = cells.map((row) => row.map((one) => one.firstElementChild));
  const all = buttons.flat().filter(Boolean);
  if (all.length) all[0].tabIndex = 0;
  table.addEventListener("keydown", (event) => {
    const next = neighbour(buttons, event);
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
  table.addEventListener("focusin", (event) => {
    for (const one of all) one.tabIndex = one === event.target ? 0 : -1;
  });
  const part = classes.length < classCount ? ` These are the ${classes.length} classes in the most frequent confusions, of ${whole(classCount)}; those that are confused are side by side.` : "";
  return element("figure", { className: "matrix-figure" },
    element("div", { className: "scroll" }, table),
    element("figcaption", { className: "small", textContent: `Rows: true class; columns: predicted class; numbers: test clips. Green cells are correct, red ones are errors, darker with the row's share. Select a cell, or use the arrow keys and Enter, to see its clips.${part}` }));
}

function cell(count, total, label, predicted, open) {
  if (!count) return element("td");
  const node = element("td", { className: label === predicted ? "hit" : "miss" });
  node.style.setProperty("--share", `${Math.round(10 + 35 * (count / total))}%`);
  node.append(button(String(count), () => open(label, predicted), { tabIndex: -1, ariaLabel: `${count} of ${total} ${label} predicted as ${predicted}`, title: `${label} → ${predicted}: ${count} of ${total}` }));
  return node;
}

/** The next cell with clips in the direction of a key. */
function neighbour(buttons, { key, target }) {
  const row = buttons.findIndex((line) => line.includes(target));
  if (row < 0) return null;
  const column = buttons[row].indexOf(target);
  const along = buttons[row];
  const across = buttons.map((line) => line[column]);
  const ways = {
    ArrowRight: [...along.slice(column + 1), ...buttons.slice(row + 1).flat()],
    ArrowLeft: [...along.slice(0, column).reverse(), ...buttons.slice(0, row).flat().reverse()],
    ArrowDown: [...across.slice(row + 1), ...buttons.slice(row + 1).flat()],
    ArrowUp: [...across.slice(0, row).reverse(), ...buttons.slice(0, row).flat().reverse()],
    Home: along,
    End: [...along].reverse(),
  };
  return ways[key]?.find(Boolean) ?? null;
}
