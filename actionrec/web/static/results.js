// Results page: verdict, table, charts, confusion matrix and error browser.

import { accuracyChart } from "./accuracy_chart.js";
import { showConfusions } from "./confusion.js";
import { costChart } from "./cost_chart.js";
import { showClips } from "./error_browser.js";
import { ask, byId, element, whole } from "./page.js";
import { showModels } from "./results_table.js";
import { createState } from "./results_state.js";

function settingText(setting) {
  const untrained = setting.weights === "random" ? " The backbone is untrained: these numbers show that the pipeline works; they say nothing about real footage." : "";
  const official = setting.protocol === "official";
  const one = official ? `list ${setting.fold}` : setting.folds ? `fold ${setting.fold} of ${setting.folds}` : "";
  const folds = setting.evaluated_folds > 1 ? `all ${setting.evaluated_folds} ${official ? "lists" : "folds"}` : one;
  const classes = setting.classes ? `, ${setting.classes} classes` : "";
  const backbone = setting.backbone ? `; features of ${setting.backbone} (${setting.weights}${setting.streams ? `; ${setting.streams.join(" and ")}` : ""})` : "";
  return `${setting.dataset}, ${setting.protocol} split, ${folds ? `${folds}, ` : ""}${whole(setting.test_clips ?? 0)} test clips${classes}${backbone}.${untrained}`;
}

/** Split a text after its first sentence; "95.0 %" does not end one. */
function firstSentence(text) {
  const [, first, rest] = text.match(/^(.*?\.)\s+(.*)$/s) ?? [null, text, ""];
  return [first, rest];
}

/** Text with commands in backticks. */
const withCode = (text) => text.split("`").map((part, place) => (place % 2 ? element("code", { textContent: part }) : part));

function showVerdict([first, ...others]) {
  if (!first) return;
  const [verdict, rest] = firstSentence(first);
  const more = [rest, ...others].filter(Boolean);
  byId("verdict").append(
    element("p", { className: "verdict-text" }, ...withCode(verdict)),
    ...(more.length ? [element("ul", {}, ...more.map((text) => element("li", {}, ...withCode(text))))] : []),
  );
  byId("verdict").hidden = false;
}

const figure = ({ url, title }) => element("figure", { className: "card" }, element("a", { href: url.slice(1) }, element("img", { className: "plot", src: url.slice(1), alt: title, loading: "lazy" })), element("figcaption", { textContent: title }));

/** A group that is filled when it is opened, so that pictures are fetched only then. */
function group(title, contents) {
  const details = element("details", {}, element("summary", { textContent: title }));
  details.addEventListener("toggle", () => details.append(...contents()), { once: true });
  return details;
}

const gallery = (pictures) => element("div", { className: "gallery" }, ...pictures.map(figure));

function showPlots({ pictures, models, files }) {
  const common = pictures.filter((one) => !one.model);
  const own = models.map(({ model }) => [model, pictures.filter((one) => one.model === model)]).filter(([, some]) => some.length);
  const plots = group("All plots", () => [gallery(common), ...own.map(([model, some]) => group(`Plots of ${model}`, () => [gallery(some)]))]);
  byId("plots").append(
    ...(pictures.length ? [plots] : []),
    element("p", { className: "files" }, element("span", { textContent: "Files:" }), ...files.map((address) => element("a", { href: address.slice(1), textContent: address.split("/").at(-1) }))),
  );
  byId("plots").hidden = false;
}

function showComparison(comparison, state) {
  if (!comparison.models.length) {
    byId("setting").textContent = "There is no comparison yet. Run `dvc repro` to train and compare the models.";
    return;
  }
  byId("setting").textContent = settingText(comparison.setting);
  byId("results").hidden = false;
  showVerdict(comparison.headline);
  showModels(byId("models"), comparison, state);
  accuracyChart(byId("accuracy"), comparison.models);
  costChart(byId("cost"), comparison.models);
  showPlots(comparison);
}

async function showTestClips(state) {
  const place = byId("clips");
  place.hidden = false;
  const status = element("p", { className: "small", role: "status", textContent: "Reading the predictions…" });
  place.append(status);
  try {
    const choices = await ask("test-clips/choices");
    status.remove();
    state.knows(choices);
    byId("confusions").hidden = false;
    showConfusions(byId("confusions"), choices, state);
    showClips(place, choices, state);
  } catch (error) {
    document.querySelector(".jumps [href='#confusions']").hidden = true;
    status.className = "empty";
    status.textContent = error.message;
  }
}

/** The browser went to the address's anchor before the sections had their content. */
function goToAnchor() {
  const target = location.hash && document.querySelector(`[id="${CSS.escape(location.hash.slice(1))}"]`);
  if (target) target.scrollIntoView();
}

async function start() {
  const state = createState();
  const compared = ask("comparison").then((comparison) => showComparison(comparison, state)).catch((error) => { byId("setting").textContent = error.message; });
  await Promise.all([compared, showTestClips(state)]);
  goToAnchor();
}

start();
