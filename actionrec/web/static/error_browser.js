// Error browser: test clips as a grid, with filters. The state is in the page's address.

import { clipDialog } from "./clip_dialog.js";
import { aloud, ask, button, element, percent, whole } from "./page.js";
import { queryOf } from "./results_state.js";

const PAGE = 24; // clips that are fetched at once
const MOST_IN_MENU = 60; // classes: among more, one is found by typing a part of its name
const NOTHING = { true: "", predicted: "", answers: "all", min_confidence: "", max_confidence: "", group: "", suspect: "", disagree: "" };

/** Fill the section; it follows the state. */
export function showClips(section, choices, state) {
  const filters = createFilters(choices, state);
  const count = element("p", { id: "clip-count", role: "status" });
  const grid = element("ul", { className: "clips" });
  const after = element("div", { className: "after" });
  const dialog = clipDialog({ choices, state, step, closed: focusTile });
  let listed = [];
  let total = 0;
  let latest = 0; // number of the newest request: answers to older ones are dropped

  const left = Object.entries(choices.left_out);
  section.append(
    element("p", { className: "small", textContent: "Each clip with its true class, what the model answered, and how sure it was (calibrated). Select one to play it." }),
    ...(left.length ? [element("details", {}, element("summary", { textContent: `${left.length} models are left out` }), ...left.map(([, why]) => element("p", { className: "small", textContent: why })))] : []),
    filters.form, count, grid, after, dialog.element,
  );

  async function load(offset) {
    latest += 1;
    const number = latest;
    const query = queryOf(state.values);
    query.set("offset", offset);
    query.set("limit", PAGE);
    if (!offset) grid.classList.add("stale");
    try {
      const response = await ask(`test-clips?${query}`);
      if (number !== latest) return;
      add(response, offset);
    } catch (error) {
      if (number === latest) fail(error);
    }
    grid.classList.remove("stale");
  }

  function add(response, offset) {
    total = response.total;
    const tiles = response.clips.map((one, place) => tile(one, response, () => dialog.open(one.clip, offset + place)));
    if (offset) {
      const hadFocus = after.contains(document.activeElement);
      listed.push(...response.clips);
      grid.append(...tiles);
      showAfter();
      if (hadFocus) (after.querySelector("button") ?? tiles[0].firstElementChild).focus({ preventScroll: true });
    } else {
      listed = response.clips;
      grid.replaceChildren(...tiles);
      showAfter();
    }
    count.textContent = countText(total, response.model, state.values, choices);
  }

  function showAfter() {
    const rest = total - listed.length;
    if (!total) after.replaceChildren(emptyState(state, choices));
    else if (rest > 0) after.replaceChildren(button(`Show ${Math.min(PAGE, rest)} more of ${whole(rest)}`, () => load(listed.length)));
    else after.replaceChildren();
  }

  function fail(error) {
    count.textContent = "";
    grid.replaceChildren();
    listed = [];
    after.replaceChildren(element("p", { className: "error", textContent: error.message }));
  }

  /** The clip beside a listed one, for the dialog; null at the ends of what is listed. */
  function step(place, by) {
    const one = listed[place + by];
    return one ? { clip: one.clip, place: place + by } : null;
  }

  function focusTile(place) {
    grid.children[place]?.firstElementChild.focus();
  }

  state.follow(() => {
    filters.show();
    load(0);
  });
  filters.show();
  load(0);
  if (state.values.clip) dialog.open(state.values.clip, -1);
}

const plural = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

function countText(total, model, values, choices) {
  const what = { wrong: ` that ${model} gets wrong`, correct: ` that ${model} gets right`, all: "" }[values.answers];
  return `${plural(total, "test clip")}${what}, of ${whole(choices.tests)}${isFiltered(values) ? ", with these filters" : ""}.`;
}

const isFiltered = (values) => Object.keys(NOTHING).some((name) => name !== "answers" && values[name]);

function emptyState(state, choices) {
  const values = state.values;
  const ways = [];
  let text = "No test clip matches these filters.";
  if (isFiltered(values)) {
    ways.push(button("Clear the filters", () => state.change({ ...NOTHING, answers: "wrong" })));
  } else if (values.answers === "wrong") {
    text = `${values.model} gets all ${whole(choices.tests)} test clips right. Choose another model, or:`;
  }
  if (values.answers !== "all") ways.push(button("Show all its clips", () => state.change({ ...NOTHING })));
  if (choices.disagreements && values.disagree !== "true") ways.push(button("Show clips on which models disagree", () => state.change({ ...NOTHING, disagree: "true" })));
  return element("div", { className: "empty" }, element("p", { textContent: text }), element("p", { className: "ways" }, ...ways));
}

/** A text that may break inside of names such as HighJump. */
const breakable = (text) => text.split(/(?<=[a-z])(?=[A-Z])/).flatMap((part, place) => (place ? [element("wbr"), part] : [part]));

function tile(one, { models }, open) {
  const answer = one.correct ? [one.predicted] : [...breakable(one.label), element("span", { ariaHidden: "true", textContent: " → " }), aloud(" predicted as "), ...breakable(one.predicted)];
  const image = element("img", { src: `test-clips/thumbnail?clip=${encodeURIComponent(one.clip)}`, alt: "", loading: "lazy", width: 240, height: 180 });
  const picture = element("span", { className: "picture" }, image);
  image.addEventListener("error", () => picture.replaceChildren(element("span", { className: "no-picture", textContent: "no picture: the file is missing or damaged" })));
  const node = button("", open, { className: one.correct ? "clip" : "clip wrong", title: one.clip });
  node.append(
    picture,
    element("span", { className: "clip-answer" }, ...answer),
    element("span", { className: "clip-more" },
      element("span", { textContent: `${percent(one.confidence)} sure` }),
      element("span", { textContent: one.suspect ? "suspect label" : `${one.correct_models}/${models} models right` })),
  );
  return element("li", {}, node);
}

/** The form of filters; `show` sets it to the state. */
function createFilters(choices, state) {
  const fields = [
    select("model", "Model", choices.models.map((name) => [name, name])),
    select("answers", "Its answer is", [["wrong", "wrong"], ["correct", "correct"], ["all", "any"]]),
    classField("true", "True class", choices.classes.filter((one) => one.clips), (one) => whole(one.clips)),
    classField("predicted", "Predicted class", choices.classes),
    select("sort", "Order", [["most_confident", "surest first"], ["least_confident", "least sure first"], ["fewest_correct", "hardest first"], ["clip", "by name"]]),
  ];
  const more = [
    select("disagree", "All models", [["", "agree or not"], ["true", `disagree (${whole(choices.disagreements)})`], ["false", "agree"]]),
    select("suspect", "Label", [["", "any"], ["true", `suspect (${whole(choices.suspects)})`], ["false", "not suspect"]]),
    share("min_confidence", "Confidence from, %"),
    share("max_confidence", "Confidence to, %"),
    ...(choices.groups.length ? [group(choices.groups)] : []),
  ];
  const details = element("details", { className: "more-filters" }, element("summary", { textContent: "More filters" }), element("div", { className: "fields" }, ...more.map((one) => one.field)));
  const clear = button("Clear", () => state.change({ ...NOTHING, answers: "wrong" }), { className: "quiet", ariaLabel: "Clear the filters" });
  const form = element("form", { className: "filters", role: "search", ariaLabel: "Filter the test clips" }, element("div", { className: "fields" }, ...fields.map((one) => one.field)), element("div", { className: "filter-foot" }, details, clear));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", ({ target }) => {
    const one = [...fields, ...more].find(({ input }) => input === target);
    if (one && target.reportValidity() && one.read() !== state.values[target.name]) state.change({ [target.name]: one.read() });
  });
  return {
    form,
    show() {
      for (const one of [...fields, ...more]) one.set(state.values[one.input.name]);
      clear.hidden = !isFiltered(state.values);
      if (more.some((one) => state.values[one.input.name])) details.open = true;
    },
  };
}

function field(title, input, { read = () => input.value, set = (value) => { input.value = value; } } = {}) {
  input.id = `filter-${input.name}`;
  return { input, read, set, field: element("p", { className: "field" }, element("label", { htmlFor: input.id, textContent: title }), input) };
}

const select = (name, title, options) => field(title, element("select", { name }, ...options.map(([value, text]) => element("option", { value, textContent: text }))));

/** A class: a menu, or if there are many classes a text field that suggests those with the typed text. */
function classField(name, title, classes, note = () => "") {
  if (classes.length <= MOST_IN_MENU) {
    const text = (one) => (note(one) ? `${one.label} (${note(one)})` : one.label);
    return select(name, title, [["", "any"], ...classes.map((one) => [one.label, text(one)])]);
  }
  const known = new Map([["", ""], ...classes.map(({ label }) => [label.toLowerCase(), label])]);
  const input = element("input", { name, type: "search", autocomplete: "off", placeholder: "any" });
  const typed = () => known.get(input.value.trim().toLowerCase());
  const formField = field(title, input, {
    read: typed,
    set: (value) => {
      input.value = value;
      input.setCustomValidity("");
    },
  });
  input.setAttribute("list", `${name}-classes`);
  input.addEventListener("input", () => {
    input.setCustomValidity(typed() === undefined ? "There is no such class. Choose one from the list." : "");
    if (typed() !== undefined) input.dispatchEvent(new Event("change", { bubbles: true })); // chosen, typed completely, or cleared
  });
  formField.field.append(element("datalist", { id: `${name}-classes` }, ...classes.map((one) => element("option", { value: one.label, label: note(one) ? `${note(one)} clips` : one.label }))));
  return formField;
}

/** A share, shown in percent. */
function share(name, title) {
  const input = element("input", { name, type: "number", min: 0, max: 100, step: "any" });
  return field(title, input, {
    read: () => (input.value === "" ? "" : String(Number(input.value) / 100)),
    set: (value) => { input.value = value === "" ? "" : Number((100 * value).toFixed(4)); },
  });
}

function group(names) {
  const input = element("input", { name: "group", type: "text", autocomplete: "off", placeholder: "any" });
  input.setAttribute("list", "groups");
  const formField = field("Source video or person", input);
  formField.field.append(element("datalist", { id: "groups" }, ...names.map((value) => element("option", { value }))));
  return formField;
}
