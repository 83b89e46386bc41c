// First page: choose a video and a model, send it, and show the answer.

import { Answer, LONG } from "./answer.js";
import { Batch } from "./batch.js";
import { feedback } from "./collect.js";
import { dropped, videosAmong } from "./files.js";
import { Earlier, fromAddress, toAddress } from "./history.js";
import { Models } from "./models.js";
import { ask, button, byId, clock, element, showLinks } from "./page.js";
import { Player } from "./player.js";
import { canRecord, record } from "./record.js";
import { send } from "./send.js";

const MOST_CLASSES = 20; // of each window of a timeline, from which segments are merged when the threshold is moved
const HOVER = 150; // ms until a sample plays

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

let limits = { megabytes: 200, minutes: 10, suffixes: [] };
let collects = false; // whether the server saves clips that visitors label
let byHand = { timeline: false, window: false }; // what the visitor set
let chosen = null; // { name, and file, sample or clip }; `playable` if the browser plays the file itself
let request = null; // the one in progress
let asked = null; // seconds of a window in the latest request; null: one answer for the clip
let latest = null; // options of the latest request, for "Try again"
let batch = null; // several files in progress
let turn = 0; // counts choices: a file that opens slowly must not replace a later one

const models = new Models(() => { setWindow(); if (chosen) predict(); });
const player = new Player(byId("stage"));
const answer = new Answer(player, {
  explain: (window) => predict({ explain: true, window }),
  compare: () => predict({ all: true }),
  timeline: () => { byId("timeline").checked = true; byHand.timeline = true; predict(); },
});
const earlier = new Earlier(showEarlier);

/** Show what is going on, with a bar; `share` is null while the end is unknown. */
function say(text, { share = null } = {}) {
  const status = byId("status");
  if (status.hidden || !status.querySelector(".bar")) {
    status.replaceChildren(element("p", {}), element("div", { className: "bar", ariaHidden: "true" }, element("i")), button("Cancel", stop, { className: "quiet" }));
  }
  status.hidden = false;
  status.querySelector("p").textContent = text;
  const bar = status.querySelector(".bar");
  bar.classList.toggle("endless", share === null);
  bar.firstChild.style.width = share === null ? "" : `${100 * share}%`;
}

/** Scroll to an element: on a phone, it is far below the button that was touched. */
function bringUp(id) {
  const top = byId(id).getBoundingClientRect().top;
  if (top < 0 || top > 0.6 * innerHeight) byId(id).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

function fail(message, again = null) {
  const focused = byId("status").contains(document.activeElement);
  const retry = again && button("Try again", again, { className: "quiet" });
  byId("status").hidden = true;
  byId("error").hidden = false;
  byId("error").replaceChildren(element("span", { textContent: message }), ...(retry ? [" ", retry] : []));
  if (focused) retry?.focus();
  bringUp("error");
}

/** End what is in progress; the keyboard's focus stays here. */
function stop() {
  const focused = byId("status").contains(document.activeElement);
  turn += 1;
  request?.abort();
  answer.fresh();
  const again = chosen && latest ? button("Try again", () => predict(latest), { className: "quiet" }) : null;
  byId("status").replaceChildren(element("p", { textContent: "Cancelled." }), ...(again ? [again] : []));
  if (focused) (again ?? byId("file")).focus();
}

function reset() {
  turn += 1;
  request?.abort();
  if (batch) batch.stopped = true;
  batch?.running.forEach((one) => one.abort());
  batch = null;
  byId("error").hidden = true;
}

function choose(what) {
  chosen = what;
  mark(what);
  answer.clear();
}

/** Show beside the samples and in the drop zone what was chosen. */
function mark(what) {
  for (const tile of document.querySelectorAll(".thumbs button")) tile.setAttribute("aria-pressed", String(Number(tile.dataset.sample) === what.sample));
  byId("drop").classList.toggle("has", Boolean(what.file));
  byId("drop").querySelector("strong").textContent = what.file ? what.name : "Choose videos";
  byId("drop").querySelector("strong + span").textContent = what.file ? "Choose, drop or paste another" : "or drop or paste them here";
}

const tooLarge = (file) => (file.size > limits.megabytes * 1e6 ? `${file.name} has ${Math.ceil(file.size / 1e6)} MB; this server takes ${limits.megabytes} MB. Send a shorter piece.` : null);

async function chooseFiles(files, { folder = false } = {}) {
  const all = [...files];
  if (!all.length || !(await ready)) return;
  const videos = all.length > 1 || folder ? videosAmong(all, limits.suffixes) : all;
  if (!videos.length) {
    fail(`There is no video among these ${all.length} files. Choose files that end in ${limits.suffixes.join(", ")}.`);
  } else if (videos.length === 1) {
    chooseFile(videos[0]);
  } else {
    reset();
    player.clear();
    byId("status").hidden = true;
    chosen = null;
    mark({});
    toAddress({ model: models.chosen });
    batch = new Batch(videos, { model: models.chosen, tooLarge, open: (file) => chooseFile(file, { one: true }), ended: () => models.refresh() });
    bringUp("answer");
  }
}

/** Show one file; `recorded`: recordings have no length, so the server makes a preview. `one`: one answer for all of it. */
async function chooseFile(file, { recorded = false, one = false } = {}) {
  if (tooLarge(file)) {
    fail(tooLarge(file));
    return;
  }
  reset();
  const mine = turn;
  choose({ file, name: file.name, recorded });
  say(`Opening ${file.name}`);
  const { playable, seconds } = await player.open(file, file.name);
  if (mine !== turn) return;
  chosen.playable = playable && !recorded;
  if (!byHand.timeline) byId("timeline").checked = !one && seconds > LONG;
  predict();
}

function chooseSample(one) {
  reset();
  if (!byHand.timeline) byId("timeline").checked = false;
  choose({ sample: one.sample, name: one.video });
  player.openAddress(`samples/${one.sample}/preview`, one.video);
  predict();
}

function chooseClip(clip) {
  reset();
  choose({ clip, name: clip.split("/").at(-1) });
  player.openAddress(`test-clips/preview?clip=${encodeURIComponent(clip)}`, chosen.name);
  predict();
}

function showEarlier({ result, source }) {
  reset();
  byId("status").hidden = true;
  choose({ ...source, name: result.video });
  if (source.file) player.open(source.file, result.video).then(({ playable }) => { chosen.playable = playable; if (!playable) player.note("To see this video again, predict it again."); });
  else if (source.sample !== undefined) player.openAddress(`samples/${source.sample}/preview`, result.video);
  else if (source.clip) player.openAddress(`test-clips/preview?clip=${encodeURIComponent(source.clip)}`, result.video);
  else player.clear();
  if (!source.file && source.sample === undefined && !source.clip) chosen = null;
  answer.show(result, about(result));
  byId("answer").focus({ preventScroll: true });
  bringUp("answer");
}

const windowSeconds = () => (byId("timeline").checked ? Number(byId("window").value) || models.window : null);

/** What the answer shows about its request. */
function about(result, seconds) {
  const width = result.windows ? result.windows[0].end_seconds - result.windows[0].start_seconds : 0;
  return { model: models.about(result.model), models: models.known.length, seconds, video: result.video, stride: width / 2 };
}

function fieldsOf({ explain, all, window }) {
  const fields = new FormData();
  if (chosen.file) fields.append("video", chosen.file, chosen.name);
  else if (chosen.clip) fields.append("clip", chosen.clip);
  else fields.append("sample", chosen.sample);
  if (chosen.file && !chosen.playable) fields.append("preview", "true");
  if (!all) fields.append("model", models.chosen);
  fields.append("pictures", "true");
  if (explain) fields.append("explain", "true");
  if (window) {
    fields.append("start", window.start_seconds);
    fields.append("end", window.end_seconds);
  } else if (!explain && !all && windowSeconds()) {
    fields.append("window", windowSeconds());
    fields.append("top", Math.max(5, Math.min(MOST_CLASSES, models.about(models.chosen).class_names?.length ?? 5)));
  }
  return fields;
}

/** Send the chosen video; `window`: only this piece of it. */
function predict(options = {}) {
  const { explain = false, all = false, window = null } = options;
  const whole = !explain && !all;
  latest = options;
  request?.abort();
  byId("error").hidden = true;
  const fields = fieldsOf(options);
  if (whole) {
    asked = windowSeconds();
    answer.wait();
    toAddress({ sample: chosen.sample, clip: chosen.clip, model: models.chosen, window: asked });
  }
  say(chosen.file ? "Sending" : "Waiting for the model", { share: chosen.file ? 0 : null });
  bringUp("status");
  const start = performance.now();
  const source = chosen;
  let first = true;
  const mine = send(fields, all ? "predict?models=all" : "predict", {
    sending: (share) => say(share < 1 ? `Sending, ${Math.round(100 * share)} %` : "Waiting for the model", { share: share < 1 ? share : null }),
    waiting: (seconds) => say(`The server is full. Trying again in ${seconds} s; keep this page open.`),
    working: (step) => {
      say(phrase(step), { share: step.seconds && step.of_seconds ? Math.min(1, step.seconds / step.of_seconds) : null });
      if (step.preview) player.openPreview(step.preview.slice(1), source.recorded).then((playable) => { source.playable ||= playable; });
      if (step.window) {
        if (first) answer.startTimeline({ video: source.name, stride: asked / 2, seconds: step.of_seconds ?? 0 });
        first = false;
        answer.partial(step.window);
        answer.fresh();
      }
    },
    succeeded: (result) => {
      byId("status").hidden = true;
      const focused = byId("answer").contains(document.activeElement) && !answer.timeline; // on a button that is removed now
      const seconds = (performance.now() - start) / 1000;
      if (all) answer.showAll(result, models.chosen);
      else if (window) answer.showPiece(result);
      else answer.show(result, about(result, seconds));
      if (whole) {
        earlier.add(result, source);
        offerFeedback(result, source);
      }
      const place = all ? "all" : explain ? "why" : "answer";
      if (focused || !whole) byId(place).focus({ preventScroll: true });
      bringUp(place);
      models.refresh();
    },
    failed: (message) => {
      fail(message, () => predict(options));
      if (whole) answer.clear();
      models.refresh();
    },
    ended: () => { if (request === mine) request = null; },
  });
  request = mine;
}

function offerFeedback(result, source) {
  if (!collects || !source.file || result.windows) return;
  byId("answer").querySelector(".foot").before(feedback(source.file, result, models.about(result.model).class_names ?? []));
}

function phrase(step) {
  if (step.seconds === undefined) return step.doing;
  return `${step.doing}, ${clock(step.seconds)}${step.of_seconds ? ` of ${clock(step.of_seconds)}` : ""}`;
}

/** Set the usual seconds of a window of the chosen model, unless the visitor set others. */
function setWindow() {
  if (!byHand.window) byId("window").value = models.window;
  const known = models.about(models.chosen).clip_seconds;
  byId("window-note").textContent = known ? `This model was trained with clips of ${known.toFixed(1)} s (median), so it predicts windows of that length best.` : "";
}

function listen() {
  const drop = byId("drop");
  byId("form").addEventListener("submit", (event) => event.preventDefault());
  for (const [id, options] of [["file", {}], ["film", {}], ["folder", { folder: true }]]) {
    byId(id).addEventListener("change", (event) => { const files = [...event.target.files]; event.target.value = ""; chooseFiles(files, options); });
  }
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    chooseFiles(await dropped(event.dataTransfer));
  });
  document.addEventListener("paste", (event) => {
    if (!event.clipboardData.files.length) return;
    event.preventDefault();
    chooseFiles(event.clipboardData.files);
  });
  byId("record").addEventListener("click", async () => {
    try {
      const file = await record();
      if (file && (await ready)) chooseFile(file, { recorded: true });
      else byId("record").focus();
    } catch (error) {
      fail(error.message, () => byId("record").click());
    }
  });
  // The number field also sends `change` when it loses the focus, for a value that was already sent.
  const changed = () => chosen && windowSeconds() !== asked && predict();
  byId("timeline").addEventListener("change", () => { byHand.timeline = true; changed(); });
  byId("window").addEventListener("input", () => { byHand.window = true; });
  byId("window").addEventListener("change", changed);
  const phone = matchMedia("(pointer: coarse)").matches;
  byId("record").hidden = phone || !canRecord();
  byId("capture").hidden = !phone;
  byId("folders").hidden = phone || !("webkitdirectory" in byId("folder"));
}

async function showSamples() {
  const samples = await ask("samples");
  byId("samples").hidden = !samples.length;
  byId("thumbs").replaceChildren(...samples.map(tile));
  return samples;
}

/** A sample's button; the clip plays while it is pointed at, touched or focused. */
function tile(one) {
  const picture = element("img", { src: one.thumbnail.slice(1), alt: "", loading: "lazy" });
  const frame = element("span", { className: "frame" }, picture);
  const node = element("button", { type: "button", data: { sample: one.sample }, title: one.video }, frame, element("span", { className: "tile-name", textContent: one.label }));
  node.setAttribute("aria-pressed", "false");
  node.addEventListener("click", () => chooseSample(one));
  if (calm) return node;
  let timer = null;
  const play = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (frame.querySelector("video")) return;
      const video = element("video", { src: `samples/${one.sample}/preview`, muted: true, loop: true, autoplay: true, playsInline: true, ariaHidden: "true", tabIndex: -1 });
      video.addEventListener("error", () => video.remove());
      frame.append(video);
    }, HOVER);
  };
  const still = () => {
    clearTimeout(timer);
    frame.querySelector("video")?.remove();
  };
  for (const kind of ["pointerenter", "focus"]) node.addEventListener(kind, play);
  for (const kind of ["pointerleave", "blur"]) node.addEventListener(kind, still);
  return node;
}

/** Do what the address asks for. */
function startFrom({ sample, clip, window }, samples) {
  if (window) {
    byHand = { timeline: true, window: true };
    byId("timeline").checked = true;
    byId("window").value = window;
  }
  if (clip) chooseClip(clip);
  else if (samples[sample]) chooseSample(samples[sample]);
  else if (sample !== undefined) fail(`There is no sample ${sample}. Choose one of the ${samples.length} below.`);
}

/** Load what the page needs to know; whether that worked. */
async function start() {
  listen();
  const given = fromAddress();
  try {
    const known = await models.load(given.model);
    limits = known.limits;
    collects = known.collects ?? false;
    byId("file").accept = limits.suffixes.join();
    byId("limits").textContent = `MP4, AVI, MOV, MKV, WebM, MPEG and others, up to ${limits.megabytes} MB and ${limits.minutes} minutes`;
    if (collects) byId("privacy").textContent = "Videos you send are deleted as soon as they are answered, unless you agree to save them.";
    setWindow();
    const [samples] = await Promise.all([showSamples(), showLinks()]);
    startFrom(given, samples);
    return true;
  } catch (error) {
    fail(error.message, () => location.reload());
    return false;
  } finally {
    document.querySelector("main").ariaBusy = "false";
  }
}

const ready = start(); // a video that is chosen before waits for it
