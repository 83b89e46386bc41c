// Chart of accuracy against cost, with a choice of costs. The cost axis is logarithmic.

import { TEXT, addChart, label, logTicks, textWidth, ticks } from "./chart.js";
import { element, shape } from "./page.js";

const COSTS = [
  { name: "operations with the backbone", unit: "GFLOPs", value: (one) => one.total_flops, scale: 1e9 },
  { name: "time from file to answer", unit: "ms", value: (one) => one.total_ms, scale: 1 },
  { name: "operations of the model alone", unit: "MFLOPs", value: (one) => one.flops, scale: 1e6 },
  { name: "time of the model alone", unit: "ms", value: (one) => one.latency_ms, scale: 1 },
  { name: "parameters of the model alone", unit: "millions", value: (one) => one.parameters, scale: 1e6 },
];
const LEAST_RATIO = 1.1; // of the costs; a chart of nearly equal ones would show nothing

const short = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });

export function costChart(section, models) {
  const usable = COSTS.filter((cost) => models.every((one) => cost.value(one) > 0) && ratio(models, cost) >= LEAST_RATIO);
  if (!usable.length) {
    section.append(element("p", { className: "small", textContent: "The models' costs were not measured, or are nearly equal. `dvc repro` measures them." }));
    return;
  }
  const choice = element("select", { id: "cost-of" }, ...usable.map((cost, place) => element("option", { value: place, textContent: cost.name })));
  section.append(element("p", { className: "field" }, element("label", { htmlFor: "cost-of", textContent: "Cost" }), choice));
  const cost = () => usable[choice.value];
  const redraw = addChart(section, describe(models, cost()), "Up is more accurate, left is cheaper. The line joins the models that no other model beats in both. Costs are for one clip; a step to the right multiplies the cost.", (svg, width) => draw(svg, width, models, cost()));
  choice.addEventListener("change", () => redraw(describe(models, cost())));
  const equal = COSTS.filter((one) => models.every((model) => one.value(model) > 0) && !usable.includes(one));
  if (equal.length) section.append(element("p", { className: "small", textContent: `Not shown, as all models need nearly the same: ${equal.map((one) => one.name).join(", ")}.` }));
}

function ratio(models, cost) {
  const values = models.map(cost.value);
  return Math.max(...values) / Math.min(...values);
}

const describe = (models, cost) => `Top-1 accuracy against ${cost.name}: ${models.map((one) => `${one.model} ${(100 * one.top1).toFixed(1)} % for ${short(cost.value(one) / cost.scale)} ${cost.unit}`).join("; ")}.`;

/** Models that no cheaper or equally cheap one beats, from cheap to costly. */
function front(models, cost) {
  const sorted = [...models].sort((a, b) => cost.value(a) - cost.value(b) || b.top1 - a.top1);
  return sorted.filter((one, place) => sorted.slice(0, place).every((other) => other.top1 < one.top1));
}

function draw(svg, width, models, cost) {
  const height = Math.max(320, Math.min(420, width * 0.62));
  const [left, right, top, bottom] = [52, width - 12, 14, height - 46];
  const values = models.map(cost.value);
  const [cheapest, costliest] = [Math.min(...values) / 1.15, Math.max(...values) * 1.15];
  const shares = models.map((one) => one.top1);
  const margin = Math.max(0.02, 0.08 * (Math.max(...shares) - Math.min(...shares)));
  const [low, high] = [Math.max(0, Math.min(...shares) - margin), Math.max(...shares) + margin];
  const x = (value) => left + (Math.log(value / cheapest) / Math.log(costliest / cheapest)) * (right - left);
  const y = (share) => bottom - ((share - low) / (high - low)) * (bottom - top);
  for (const share of ticks(low, Math.min(high, 1), 5)) {
    svg.append(
      shape("line", { class: "grid", x1: left, x2: right, y1: y(share), y2: y(share) }),
      label(`${Number((100 * share).toFixed(1))} %`, left - 8, y(share) + 4.5, { class: "soft", "text-anchor": "end" }),
    );
  }
  let free = 0; // left of it are other labels
  for (const value of logTicks(cheapest / cost.scale, costliest / cost.scale, Math.max(2, Math.floor((right - left) / 55)))) {
    const at = x(value * cost.scale);
    const half = textWidth(short(value)) / 2;
    svg.append(shape("line", { class: "grid", x1: at, x2: at, y1: top, y2: bottom }));
    if (at - half < free || at + half > width) continue;
    svg.append(label(short(value), at, bottom + 18, { class: "soft", "text-anchor": "middle" }));
    free = at + half + 8;
  }
  svg.append(label(`${cost.unit}, logarithmic`, (left + right) / 2, bottom + 38, { class: "soft", "text-anchor": "middle" }));
  const efficient = front(models, cost);
  svg.append(shape("polyline", { class: "front", points: efficient.map((one) => `${x(cost.value(one))},${y(one.top1)}`).join(" ") }));
  const points = models.map((one) => ({ one, x: x(cost.value(one)), y: y(one.top1), text: one.model, strong: efficient.includes(one) }));
  for (const { point, x: at, y: base, far } of placeLabels(points, { left, right: width - 2, top: 0, bottom })) {
    if (far) svg.append(shape("line", { class: "leader", x1: point.x, y1: point.y, x2: at + textWidth(point.text, point.strong) / 2, y2: base - TEXT / 3 }));
    svg.append(label(point.text, at, base, { class: point.strong ? "strong halo" : "halo" }));
  }
  for (const point of points) svg.append(shape("circle", { class: point.strong ? "mark tied" : "mark", cx: point.x, cy: point.y, r: 5.5 }));
  return height;
}

const overlap = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

/** Places for the points' labels where they cover neither a point nor each other, as near as possible. */
function placeLabels(points, area) {
  const taken = points.map((point) => ({ x: point.x - 7, y: point.y - 7, width: 14, height: 14 }));
  return points.map((point) => {
    const width = textWidth(point.text, point.strong);
    let best = null;
    for (let distance = 9; distance <= 129 && !best; distance += 6) {
      for (const [sideways, down] of [[1, 0], [-1, 0], [0, -1], [0, 1], [1, -0.7], [-1, -0.7], [1, 0.7], [-1, 0.7]]) {
        const at = point.x + sideways * distance - (sideways < 0 ? width : sideways ? 0 : width / 2);
        const base = point.y + down * (distance + TEXT / 2) + TEXT / 3;
        const box = { x: at - 2, y: base - TEXT + 1, width: width + 4, height: TEXT + 3 };
        const inside = box.x >= area.left && box.x + box.width <= area.right && box.y >= area.top && box.y + box.height <= area.bottom;
        if (inside && !taken.some((other) => overlap(box, other))) {
          best = { point, x: at, y: base, far: distance > 15 };
          taken.push(box);
          break;
        }
      }
    }
    return best;
  }).filter(Boolean);
}
