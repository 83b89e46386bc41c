// The video that was chosen: the file itself if the browser can play it, else a preview from the server.

import { element } from "./page.js";

const SLOW = 3000; // ms after which a file that has not opened counts as not playable

export class Player {
  constructor(place) {
    this.place = place;
    this.watchers = new Set();
    this.video = null;
    this.urls = [];
  }

  /** Open a file: { playable, seconds }; seconds is 0 if the browser does not know the length. */
  async open(file, name) {
    const url = this.keep(URL.createObjectURL(file));
    this.start(name);
    const opened = await this.load(url);
    if (!opened.playable) this.note("Preparing a preview, since this browser cannot play the file…");
    return opened;
  }

  /** Play a clip that the server has. */
  openAddress(address, name) {
    this.start(name);
    this.load(address).then(({ playable }) => { if (!playable) this.note("This video cannot be shown."); });
  }

  /** Play the preview that the server makes of the file; tell whether it plays. `replace`: also if the file plays itself. */
  async openPreview(address, replace = false) {
    const video = this.video;
    this.address = address;
    const current = () => video === this.video && address === this.address; // no other video, nor another request for a preview
    try {
      const answered = await fetch(address);
      if (!answered.ok) throw new Error(answered.status);
      const preview = await answered.blob();
      if (!current()) return false;
      if (this.playable && !replace) return true; // the file itself opened after all
      const { playable } = await this.load(this.keep(URL.createObjectURL(preview)));
      if (playable) return true;
    } catch { /* told below */ }
    if (current()) this.note("This video cannot be shown here.");
    return false;
  }

  start(name) {
    this.clear();
    this.video = element("video", { controls: true, muted: true, playsInline: true, preload: "auto", className: "player", ariaLabel: name });
    this.caption = element("p", { className: "small stage-note", textContent: "Opening the video…" });
    this.place.replaceChildren(this.video, this.caption);
    this.place.hidden = false;
    this.video.hidden = true;
    const moved = () => this.watchers.forEach((watch) => watch(this.video.currentTime));
    for (const event of ["timeupdate", "seeking", "seeked", "loadeddata"]) this.video.addEventListener(event, moved);
    const video = this.video;
    const follow = () => { // timeupdate alone comes four times a second
      if (video !== this.video) return;
      moved();
      if (!video.paused && !video.ended) requestAnimationFrame(follow);
    };
    this.video.addEventListener("play", follow);
  }

  load(url) {
    const video = this.video;
    return new Promise((done) => {
      const tell = (playable) => {
        clearTimeout(late);
        if (video === this.video && playable) {
          video.hidden = false;
          this.note("");
        }
        done({ playable, seconds: Number.isFinite(video.duration) ? video.duration : 0 });
      };
      const late = setTimeout(() => tell(false), SLOW);
      video.addEventListener("loadedmetadata", () => tell(video.videoWidth > 0), { once: true });
      video.addEventListener("error", () => tell(false), { once: true });
      video.src = url;
    });
  }

  note(text) {
    if (!this.caption) return;
    this.caption.textContent = text;
    this.caption.hidden = !text;
  }

  /** Call `watch(seconds)` whenever the position changes, until another answer is shown. */
  watch(watch) {
    this.watchers.add(watch);
    if (this.video) watch(this.video.currentTime);
  }

  forget() {
    this.watchers.clear();
  }

  get playable() {
    return Boolean(this.video && !this.video.hidden);
  }

  seek(seconds, { play = false } = {}) {
    if (!this.playable) return;
    this.video.currentTime = seconds;
    if (play) this.video.play().catch(() => {}); // a browser may forbid it
  }

  toggle() {
    if (!this.playable) return;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  keep(url) {
    this.urls.push(url);
    return url;
  }

  clear() {
    this.forget();
    this.video?.removeAttribute("src");
    this.video?.load();
    this.video = null;
    this.place.hidden = true;
    this.place.replaceChildren();
    this.urls.splice(0).forEach((url) => URL.revokeObjectURL(url));
  }
}
