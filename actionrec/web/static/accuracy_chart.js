// Chart of top-1 with 95 % intervals: one row per model.

import { addChart, label, textWidth, ticks } from "./chart.js";
import { shape } from "./page.js";

const ROW = 28; // pixels
const AXIS = 26;
const GAP = 10;

const percent = (share) => `${(100 * share).toFixed(1)} %`;

export function accuracyChart(section, models) {
  const names = Math.max(...models.map((one) => textWidth(one.model, true)));
  const values = Math.max(...models.map((one) => textWidth(percent(one.top1), true)));
  const description = models.map((one) => `${one.model} ${percent(one.top1)}, ${percent(one.top1_low)} to ${percent(one.top1_high)}`).join("; ");
  addChart(
    section,
    `Top-1 accuracy with 95 % intervals: ${description}.`,
    "Dot: share of test clips that the model gets right. Line: 95 % interval; the true accuracy is probably in it. Filled: the model with the highest accuracy, and those that are not significantly worse.",
    (svg, width) => draw(svg, width, models, names, values),
  );
}

function draw(svg, width, models, names, values) {
  const left = names + GAP + 6;
  const right = width - values - GAP - 6;
  const low = Math.floor(Math.min(...models.map((one) => one.top1_low)) * 10) / 10;
  const high = Math.max(low + 0.1, Math.ceil(Math.max(...models.map((one) => one.top1_high)) * 10) / 10);
  const x = (share) => left + ((share - low) / (high - low)) * (right - left);
  const bottom = models.length * ROW + 4;
  for (const share of ticks(low, high, Math.max(2, Math.floor((right - left) / 70)))) {
    svg.append(
      shape("line", { class: "grid", x1: x(share), x2: x(share), y1: 0, y2: bottom }),
      label(`${Math.round(100 * share)} %`, x(share), bottom + 17, { class: "soft", "text-anchor": "middle" }),
    );
  }
  models.forEach((one, place) => {
    const y = place * ROW + ROW / 2 + 2;
    const kind = one.rank === 1 || one.tied_with_best ? "mark tied" : "mark";
    svg.append(
      label(one.model, names, y + 4.5, { "text-anchor": "end", class: one.rank === 1 ? "strong" : "" }),
      shape("line", { class: `${kind} whisker`, x1: x(one.top1_low), x2: x(one.top1_high), y1: y, y2: y }),
      shape("circle", { class: kind, cx: x(one.top1), cy: y, r: 5.5 }),
      label(percent(one.top1), width - 1, y + 4.5, { "text-anchor": "end", class: one.rank === 1 ? "strong" : "" }),
    );
  });
  return bottom + AXIS;
}
