// "Is this right?": the visitor's label of a video, saved on the server if it collects clips and the visitor agrees.

import { button, element } from "./page.js";

let agreed = false; // in this session

/** A card that asks for the right label of an uploaded file. */
export function feedback(file, result, classNames) {
  const place = element("section", { className: "card", id: "feedback", tabIndex: -1 });
  const ask = () => {
    const right = button(`Yes, ${result.label}`, () => save(result.label));
    const list = element("datalist", { id: "classes" }, ...classNames.map((name) => element("option", { value: name })));
    const other = element("input", { type: "text", id: "other-label", maxLength: 60, autocomplete: "off" });
    other.setAttribute("list", "classes");
    const form = element("form", { className: "ways" }, element("label", { htmlFor: "other-label", textContent: "No, it was" }), other, list, element("button", { type: "submit", textContent: "Save" }));
    form.addEventListener("submit", (event) => { event.preventDefault(); if (other.value.trim()) save(other.value.trim()); else other.focus(); });
    const consent = element("input", { type: "checkbox", id: "consent", checked: agreed });
    consent.addEventListener("change", () => { agreed = consent.checked; });
    place.replaceChildren(
      element("h2", { textContent: "Is this right?" }),
      element("label", { className: "consent" }, consent, element("span", { textContent: "Save this video and its label on this server, where they may be used to train models. I may share this video, and the people in it agree." })),
      element("div", { className: "ways" }, right), form, element("p", { className: "small", role: "status" }));
  };
  const tell = (text, bad = false) => {
    const line = place.querySelector("[role=status]");
    line.textContent = text;
    line.classList.toggle("refused", bad);
  };
  const save = async (label) => {
    if (!agreed) {
      tell("Tick the box to agree that the video is saved.", true);
      place.querySelector("#consent").focus();
      return;
    }
    tell("Saving…");
    const fields = new FormData();
    fields.append("video", file, result.video);
    fields.append("label", label);
    fields.append("consent", "true");
    try {
      const answered = await fetch("collect", { method: "POST", body: fields });
      const body = await answered.json();
      if (!answered.ok) throw new Error(body.error);
      place.replaceChildren(element("h2", { textContent: "Thank you" }), element("p", { textContent: `The video is saved as “${body.label}”.` }));
      place.focus();
    } catch (error) {
      tell(`The video was not saved: ${error.message} Try again.`, true);
    }
  };
  ask();
  return place;
}
