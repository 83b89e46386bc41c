// Results page: the comparison's table, advice and pictures.

import { ask, byId, element, millions } from "./page.js";

const number = (value, digits, unit = "") => (value === undefined ? "–" : `${value.toFixed(digits)}${unit}`);

const COLUMNS = [
  ["#", (one) => one.rank],
  ["model", (one) => one.model],
  ["top-1 %", (one) => number(100 * one.top1, 1)],
  ["95 % interval", (one) => `${number(100 * one.top1_low, 1)}–${number(100 * one.top1_high, 1)}`],
  ["mean class %", (one) => number(100 * one.mean_class, 1)],
  ["parameters", (one) => (one.total_params === undefined ? "–" : millions(one.total_params))],
  ["own", (one) => millions(one.parameters)],
  ["GFLOPs", (one) => number(one.total_flops === undefined ? undefined : one.total_flops / 1e9, 1)],
  ["file to answer", (one) => number(one.total_ms, 0, " ms")],
  ["own", (one) => number(one.latency_ms, 1, " ms")],
  ["memory", (one) => number(one.memory_mb, 0, " MB")],
  ["training", (one) => number(one.train_seconds, 0, " s")],
];

function table(models) {
  const row = (one) => element("tr", {}, ...COLUMNS.map(([title, cell], place) => element(place === 1 ? "th" : "td", place === 1 ? { scope: "row", textContent: cell(one) } : { textContent: cell(one) })));
  const head = element("tr", {}, ...COLUMNS.map(([title], place) => element("th", { scope: "col", textContent: title, className: place === 1 ? "left" : "" })));
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Table of the models" }, element("table", {}, element("thead", {}, head), element("tbody", {}, ...models.map(row))));
}

function advice(headline) {
  const lines = headline.map((text) => element("li", { textContent: text }));
  return element("div", { className: "card" }, element("h2", { textContent: "Which one to deploy" }), element("ul", {}, ...lines));
}

const figure = ({ url, title }) => element("figure", { className: "card" }, element("a", { href: url.slice(1) }, element("img", { className: "plot", src: url.slice(1), alt: title, loading: "lazy" })), element("figcaption", { textContent: title }));

function show(told) {
  const { setting, models } = told;
  if (!models.length) {
    byId("setting").textContent = "There is no comparison yet. Run `dvc repro` to train and compare the models.";
    return;
  }
  const untrained = setting.weights === "random" ? " The backbone is untrained: these numbers show that the pipeline works; they say nothing about real footage." : "";
  const official = setting.protocol === "official";
  const one = official ? `list ${setting.fold}` : setting.folds ? `fold ${setting.fold} of ${setting.folds}` : "";
  const folds = setting.evaluated_folds > 1 ? `all ${setting.evaluated_folds} ${official ? "lists" : "folds"}` : one;
  byId("setting").textContent = `${setting.dataset}, ${setting.protocol} split, ${folds ? `${folds}, ` : ""}${setting.test_clips} test clips, ${setting.classes} classes; features of ${setting.backbone} (${setting.weights}${setting.streams ? `; ${setting.streams.join(" and ")}` : ""}).${untrained}`;
  const common = told.pictures.filter((one) => !one.model);
  const own = models.map(({ model }) => [model, told.pictures.filter((one) => one.model === model)]).filter(([, pictures]) => pictures.length);
  const files = told.files.map((address) => element("a", { href: address.slice(1), textContent: address.split("/").at(-1) }));
  byId("results").replaceChildren(
    ...(told.headline.length ? [advice(told.headline)] : []),
    table(models),
    element("p", { className: "small", textContent: "95 % interval: from a bootstrap of whole source videos. Costs are for one clip with the backbone; own, and memory: of the model alone, timed on one core." }),
    element("div", { className: "gallery" }, ...common.map(figure)),
    ...own.map(([model, pictures]) => element("details", {}, element("summary", { textContent: model }), element("div", { className: "gallery" }, ...pictures.map(figure)))),
    element("p", { className: "foot" }, element("span", { textContent: "More in" }), ...files),
  );
}

ask("comparison").then(show).catch((error) => { byId("setting").textContent = error.message; });
