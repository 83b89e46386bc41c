// Dialog of one test clip: it plays, with the answers of all models.

import { aloud, ask, button, element, percent } from "./page.js";

/**
 * Create the dialog.
 *
 * `step(place, by)` gives the clip beside the one at a place of the grid, or null; `closed(place)` gets the place of the last clip,
 * or -1 if it is not in the grid.
 */
export function clipDialog({ choices, state, step, closed }) {
  const title = element("h2", { id: "clip-title" });
  const body = element("div");
  const previous = button("Previous", () => move(-1), { className: "quiet" });
  const next = button("Next", () => move(1), { className: "quiet" });
  const close = button("Close", () => dialog.close(), { className: "quiet" });
  const dialog = element("dialog", { className: "clip-dialog" }, element("div", { className: "clip-head" }, title, element("div", { className: "clip-buttons" }, previous, next, close)), body);
  dialog.setAttribute("aria-labelledby", "clip-title");
  let here = -1;
  let currentClip = null;

  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); }); // beside it
  dialog.addEventListener("close", () => {
    currentClip = null;
    body.replaceChildren(); // stops the video
    state.opened("");
    closed(here);
  });

  function move(by) {
    const neighbour = step(here, by);
    if (neighbour) open(neighbour.clip, neighbour.place);
  }

  async function open(clip, place) {
    here = place;
    currentClip = clip;
    state.opened(clip);
    title.textContent = "Test clip";
    body.replaceChildren(element("p", { className: "small", textContent: "Reading the answers…" }));
    for (const [way, by] of [[previous, -1], [next, 1]]) way.disabled = place < 0 || !step(place, by);
    if (!dialog.open) dialog.showModal();
    if (document.activeElement?.disabled || document.activeElement === document.body) close.focus();
    try {
      const details = await ask(`test-clips/answers?clip=${encodeURIComponent(clip)}`);
      if (currentClip !== clip) return;
      title.textContent = details.label;
      body.replaceChildren(...contents(details, state.values.model, choices.folds.length > 1));
    } catch (error) {
      if (currentClip === clip) body.replaceChildren(element("p", { className: "error", textContent: error.message }));
    }
  }

  return { element: dialog, open };
}

function contents(details, model, hasFolds) {
  const address = encodeURIComponent(details.clip);
  const about = [details.clip, details.group && `source ${details.group}`].filter(Boolean).join(" · ");
  return [
    player(address),
    element("p", { className: "small name", textContent: about }),
    ...(details.suspect ? [element("p", { textContent: "The models' answers suggest that this label is wrong." })] : []),
    element("p", {}, element("a", { className: "action", href: `./?clip=${address}&model=${encodeURIComponent(model)}`, textContent: "Open in Predict" })),
    answers(details.answers, model, hasFolds),
  ];
}

function player(address) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const source = `test-clips/preview?clip=${address}`;
  const video = element("video", { src: source, poster: `test-clips/thumbnail?clip=${address}`, muted: true, loop: true, autoplay: !still, controls: true, playsInline: true, ariaLabel: "The clip" });
  const box = element("div", { className: "clip-video" }, video);
  video.addEventListener("error", async () => {
    const answer = await ask(source).catch((error) => error);
    const why = answer instanceof Error ? answer.message : "The clip cannot be played.";
    box.replaceChildren(element("p", { className: "error", textContent: why }));
  });
  return box;
}

function answers(all, model, hasFolds) {
  const head = ["model", ...(hasFolds ? ["fold"] : []), "answer", "confidence"];
  const row = (one) => {
    const share = element("i");
    share.style.width = `${100 * one.confidence}%`;
    return element("tr", { className: one.model === model ? "current" : "" },
      element("th", { scope: "row", textContent: one.model }),
      ...(hasFolds ? [element("td", { textContent: one.fold })] : []),
      element("td", { className: one.correct ? "answer" : "answer wrong" }, element("span", { ariaHidden: "true", textContent: one.correct ? "✓ " : "✗ " }), one.label, aloud(one.correct ? ", correct" : ", wrong")),
      element("td", {}, element("span", { className: "sure-bar" }, share), percent(one.confidence)));
  };
  const right = all.filter((one) => one.correct).length;
  return element("div", {},
    element("h3", { textContent: `All models: ${right} of ${all.length} answers are right` }),
    element("div", { className: "scroll answers", tabIndex: 0, role: "region", ariaLabel: "Answers of all models" }, element("table", {}, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col", textContent: text })))), element("tbody", {}, ...all.map(row)))));
}
