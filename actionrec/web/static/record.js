// Recording with the camera, in a dialog.

import { button, clock, element } from "./page.js";

const LONGEST = 60; // seconds
const TYPES = ["video/webm;codecs=vp8", "video/webm", "video/mp4"];

export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);

const WHY = {
  NotAllowedError: "The browser does not allow this page to use the camera. Allow it beside the page's address, and try again.",
  NotFoundError: "No camera was found. Connect one, and try again.",
  NotReadableError: "The camera is in use by another program. Close it, and try again.",
};

/** Let the visitor record a video; resolves to a file, or null if the dialog was closed. */
export async function record() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: false });
  } catch (error) {
    throw new Error(WHY[error.name] ?? `The camera cannot be used (${error.message}).`);
  }
  const view = element("video", { muted: true, playsInline: true, autoplay: true, srcObject: stream, ariaLabel: "Camera" });
  const clockText = element("p", { role: "timer", textContent: `Records up to ${LONGEST} seconds.` });
  const start = button("Start recording", () => begin());
  const close = button("Cancel", () => dialog.close(), { className: "quiet" });
  const dialog = element("dialog", { className: "recorder", ariaLabel: "Record with the camera" }, view, clockText, element("div", { className: "ways" }, start, close));
  document.body.append(dialog);

  const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one));
  const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const pieces = [];
  let timer = null;
  let finished = false;
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));

  const begin = () => {
    if (recorder.state === "recording") {
      finished = true;
      recorder.stop();
      return;
    }
    recorder.start(500);
    const started = performance.now();
    start.textContent = "Stop and predict";
    timer = setInterval(() => {
      const seconds = (performance.now() - started) / 1000;
      clockText.textContent = `Recording, ${clock(seconds)}`;
      if (seconds >= LONGEST) begin();
    }, 200);
  };

  return new Promise((done) => {
    recorder.addEventListener("stop", () => dialog.close());
    dialog.addEventListener("close", () => {
      clearInterval(timer);
      if (recorder.state !== "inactive") recorder.stop();
      stream.getTracks().forEach((track) => track.stop());
      dialog.remove();
      const suffix = recorder.mimeType.includes("mp4") ? "mp4" : "webm";
      done(finished && pieces.length ? new File(pieces, `recording.${suffix}`, { type: recorder.mimeType }) : null);
    });
    dialog.showModal();
  });
}
