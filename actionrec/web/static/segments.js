// Segments of a timeline, merged from its windows as actionrec/inference/timeline.py does, and their export.

import { clock, csv, percent } from "./page.js";

/** Merge neighbouring windows with the same answer, and unsure neighbours. Segments meet half-way between windows' middles. */
export function segmentsOf(windows, threshold) {
  const middles = windows.map(middle);
  const edges = [windows[0].start_seconds, ...middles.slice(1).map((at, place) => (at + middles[place]) / 2), windows.at(-1).end_seconds];
  const groups = [];
  windows.forEach((one, place) => {
    const key = one.confidence < threshold ? null : one.label;
    const last = groups.at(-1);
    if (last && last.key === key) last.windows.push(one);
    else groups.push({ key, first: place, windows: [one] });
  });
  return groups.map(({ key, first, windows: merged }) => {
    const [answer, confidence] = likeliest(merged);
    return { start: edges[first], end: edges[first + merged.length], answer, confidence, unsure: key === null, windows: merged };
  });
}

const middle = (one) => (one.start_seconds + one.end_seconds) / 2;

/** The class with the highest mean probability. Windows list their most probable classes; the others count as 0. */
function likeliest(windows) {
  const sums = new Map();
  for (const { top } of windows) for (const { label, probability } of top) sums.set(label, (sums.get(label) ?? 0) + probability);
  const [answer, sum] = [...sums].reduce((best, one) => (one[1] > best[1] ? one : best));
  return [answer, sum / windows.length];
}

/** The window of a segment that is most certain of its answer. */
export const surest = (segment) => segment.windows.reduce((best, one) => (one.confidence > best.confidence ? one : best));

/** Text of a segment for subtitles. */
const titled = (segment) => (segment.unsure ? `not sure: ${segment.answer} ${percent(segment.confidence)}` : `${segment.answer} ${percent(segment.confidence)}`);

/** Columns as of `predict --csv --window`. */
export function asCsv(video, segments) {
  const rows = segments.map((one) => [video, one.start.toFixed(3), one.end.toFixed(3), one.answer, one.confidence.toFixed(6), one.windows.length, one.unsure]);
  return csv([["video", "start_seconds", "end_seconds", "answer", "confidence", "windows", "none_of_these"], ...rows]);
}

const stamp = (seconds, comma) => {
  const ms = Math.round(seconds * 1000);
  const pad = (value, digits = 2) => String(value).padStart(digits, "0");
  return `${pad(Math.floor(ms / 3_600_000))}:${pad(Math.floor(ms / 60_000) % 60)}:${pad(Math.floor(ms / 1000) % 60)}${comma}${pad(ms % 1000, 3)}`;
};

/** A text that cannot end a cue or be read as a tag. */
const safe = (text) => text.replace(/[\r\n]+/g, " ").replaceAll("-->", "→").replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export const asSrt = (segments) => segments.map((one, place) => `${place + 1}\n${stamp(one.start, ",")} --> ${stamp(one.end, ",")}\n${titled(one).replace(/[\r\n]+/g, " ").replaceAll("-->", "→")}\n`).join("\n");

export const asVtt = (segments) => `WEBVTT\n\n${segments.map((one) => `${stamp(one.start, ".")} --> ${stamp(one.end, ".")}\n${safe(titled(one))}\n`).join("\n")}`;

/** The time span of a segment for people. */
export const times = ({ start, end }) => `${clock(start)} – ${clock(end)}`;
