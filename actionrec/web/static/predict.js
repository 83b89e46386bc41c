// First page: choose a video and a model, send it, and show the answer.

import { Models } from "./models.js";
import { ask, byId, clock, element, showLinks } from "./page.js";
import { Answer } from "./answer.js";
import { send } from "./send.js";

const LONG = 20; // seconds; of a longer video the page asks for a timeline

const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;

let limits = { megabytes: 200, minutes: 10 };
let byHand = false; // whether the visitor set the timeline option
let chosen = null; // { file } or { sample }, each with a name
let request = null; // the one in progress
let asked = null; // seconds of a window in the latest request; null: one answer for the clip
let turn = 0; // counts choices: a file that opens slowly must not replace a later one

const models = new Models(() => chosen && predict());
const answer = new Answer({ explain: () => predict({ explain: true }), compare: () => predict({ all: true }), timeline: () => { byId("timeline").checked = true; byHand = true; predict(); } });

function say(text, { share = null, cancel = true } = {}) {
  const status = byId("status");
  if (status.hidden || !status.querySelector(".bar")) {
    const button = element("button", { type: "button", className: "quiet", textContent: "Cancel" });
    button.addEventListener("click", stop);
    status.replaceChildren(element("p", {}), element("div", { className: "bar", ariaHidden: "true" }, element("i")), button);
  }
  status.hidden = false;
  status.querySelector("p").textContent = text;
  status.querySelector("button").hidden = !cancel;
  const bar = status.querySelector(".bar");
  bar.classList.toggle("endless", share === null);
  bar.firstChild.style.width = share === null ? "" : `${100 * share}%`;
}

/** Scroll to an element: on a phone, it is far below the button that was touched. */
function bringUp(id) {
  const top = byId(id).getBoundingClientRect().top;
  if (top < 0 || top > 0.6 * innerHeight) byId(id).scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}

function fail(message) {
  byId("status").hidden = true;
  byId("error").hidden = false;
  byId("error").textContent = message;
  bringUp("error");
}

function stop() {
  turn += 1;
  request?.abort();
  request = null;
  byId("answer").classList.remove("stale");
  byId("status").replaceChildren(element("p", { textContent: "Cancelled." }));
}

function choose(what) {
  turn += 1;
  chosen = what;
  for (const button of document.querySelectorAll(".thumbs button")) {
    button.setAttribute("aria-pressed", String(Number(button.dataset.sample) === what.sample));
  }
  byId("drop").classList.toggle("has", Boolean(what.file));
  byId("drop").querySelector("strong").textContent = what.file ? what.file.name : "Choose a video";
  byId("drop").querySelector("strong + span").textContent = what.file ? "Choose or drop another" : "or drop one here";
  answer.clear();
  answer.play(what);
  predict();
}

async function chooseFile(file) {
  if (!file) return;
  if (file.size > limits.megabytes * 1e6) {
    fail(`${file.name} has ${Math.ceil(file.size / 1e6)} MB; this server takes ${limits.megabytes} MB. Send a shorter piece.`);
    return;
  }
  if (!byHand) {
    turn += 1;
    const mine = turn;
    request?.abort();
    byId("error").hidden = true;
    say(`Opening ${file.name}`);
    const seconds = await secondsOf(file);
    if (mine !== turn) return;
    byId("timeline").checked = seconds > LONG;
  }
  choose({ file, name: file.name });
}

/** A video's seconds, as the browser reads them; 0 if it cannot play the video. */
function secondsOf(file) {
  const url = URL.createObjectURL(file);
  const probe = element("video", { preload: "metadata" });
  return new Promise((done) => {
    const tell = (seconds) => { clearTimeout(late); URL.revokeObjectURL(url); done(Number.isFinite(seconds) ? seconds : 0); };
    const late = setTimeout(() => tell(0), 3000);
    probe.addEventListener("loadedmetadata", () => tell(probe.duration));
    probe.addEventListener("error", () => tell(0));
    probe.src = url;
  });
}

const windowSeconds = () => (byId("timeline").checked ? byId("window").value || "4" : null);

function predict({ explain = false, all = false } = {}) {
  request?.abort();
  byId("error").hidden = true;
  const fields = new FormData();
  if (chosen.file) fields.append("video", chosen.file, chosen.name);
  else fields.append("sample", chosen.sample);
  if (!all) fields.append("model", models.chosen);
  fields.append("pictures", "true");
  if (explain) fields.append("explain", "true");
  else if (!all) {
    asked = windowSeconds();
    if (asked) fields.append("window", asked);
  }
  if (!explain && !all) answer.wait();
  say(chosen.file ? "Sending" : "Waiting for the model", { share: chosen.file ? 0 : null });
  bringUp("status");
  const start = performance.now();
  const mine = send(fields, all ? "predict?models=all" : "predict", {
    sending: (share) => say(share < 1 ? `Sending, ${Math.round(100 * share)} %` : "Waiting for the model", { share: share < 1 ? share : null }),
    working: (step) => say(phrase(step), { share: step.seconds && step.of_seconds ? Math.min(1, step.seconds / step.of_seconds) : null }),
    told: (result) => {
      byId("status").hidden = true;
      const focused = byId("answer").contains(document.activeElement); // on a button that is removed now
      if (all) answer.showAll(result, models.chosen);
      else answer.show(result, (performance.now() - start) / 1000, models);
      if (focused) byId(all ? "all" : explain ? "why" : "answer").focus({ preventScroll: true });
      if (!explain && !all) bringUp("answer");
      models.refresh();
    },
    failed: (message) => { fail(message); if (!explain && !all) answer.clear(); models.refresh(); },
    ended: () => { if (request === mine) request = null; },
  });
  request = mine;
}

function phrase(step) {
  if (step.seconds === undefined) return step.doing;
  return `${step.doing}, ${clock(step.seconds)}${step.of_seconds ? ` of ${clock(step.of_seconds)}` : ""}`;
}

function listen() {
  const drop = byId("drop");
  byId("form").addEventListener("submit", (event) => event.preventDefault());
  byId("file").addEventListener("change", (event) => { chooseFile(event.target.files[0]); event.target.value = ""; });
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    chooseFile(event.dataTransfer.files[0]);
  });
  byId("timeline").addEventListener("change", () => { byHand = true; });
  // The number field also sends `change` when it loses the focus, for a value that was already sent.
  for (const id of ["timeline", "window"]) byId(id).addEventListener("change", () => chosen && windowSeconds() !== asked && predict());
}

async function showSamples() {
  const samples = await ask("samples");
  byId("samples").hidden = !samples.length;
  byId("thumbs").replaceChildren(...samples.map((one) => {
    const picture = element("img", { src: one.thumbnail.slice(1), alt: "", loading: "lazy" });
    const button = element("button", { type: "button", data: { sample: one.sample }, title: one.video }, picture, element("span", { textContent: one.label }));
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => { if (!byHand) byId("timeline").checked = false; choose({ sample: one.sample, name: one.video }); });
    return button;
  }));
}

async function start() {
  listen();
  try {
    const known = await models.load();
    limits = known.limits;
    byId("file").accept = limits.suffixes.join();
    byId("limits").textContent = `MP4, AVI, MOV, MKV, WebM or MPEG, up to ${limits.megabytes} MB and ${limits.minutes} minutes`;
    await Promise.all([showSamples(), showLinks()]);
  } catch (error) {
    fail(error.message);
  }
}

start();
