// The moments an answer rests on: each a picture with the places it looked at glowing, its clock time and its weight.

import { byId, el } from "./dom.js";
import { percent, stretch, TIERS } from "./words.js";

const COLD = [255, 196, 64];
const HOT = [255, 64, 48];

/** Paint the shares of the cells over a picture, smooth between cells, transparent where nothing was looked at. */
export function paintHeat(canvas, cells) {
  const [rows, columns] = [cells.length, cells[0]?.length ?? 0];
  if (!rows || !columns) return;
  const most = Math.max(...cells.flat(), 1e-9);
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, rows];
  const pen = small.getContext("2d");
  const image = pen.createImageData(columns, rows);
  cells.flat().forEach((share, index) => {
    const heat = Math.max(share, 0) / most;
    const colour = COLD.map((cold, channel) => cold + (HOT[channel] - cold) * heat);
    image.data.set([...colour, 255 * 0.72 * Math.max(0, heat - 0.06) ** 0.8], index * 4);
  });
  pen.putImageData(image, 0, 0);
  [canvas.width, canvas.height] = [columns * 24, rows * 24];
  const brush = canvas.getContext("2d");
  brush.imageSmoothingEnabled = true;
  brush.imageSmoothingQuality = "high";
  brush.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function picture(sighting, address) {
  const heat = el("canvas", { class: "heat", "aria-hidden": "true" });
  paintHeat(heat, sighting.cells);
  const frame = el("div", { class: "frame" });
  const lost = () => frame.classList.add("lost");
  const shown = el("img", { src: address, alt: `The camera's picture, ${stretch(sighting.from, sighting.to)}`, onerror: lost });
  const fit = () => frame.style.setProperty("--ratio", shown.naturalWidth / shown.naturalHeight);
  shown.addEventListener("load", fit);
  frame.append(shown, heat, el("span", { class: "lost-note" }, "No picture of this moment is kept; the glow shows where in it."));
  return frame;
}

function caption(sighting) {
  const weight = el("span", { class: "weight", role: "img", "aria-label": `weight ${percent(sighting.weight)}` }, el("i", {}));
  weight.firstChild.style.width = `${100 * sighting.weight}%`;
  return el(
    "figcaption",
    {},
    el("span", { class: "line" }, el("time", { class: "num" }, stretch(sighting.from, sighting.to)), el("b", { class: "num" }, percent(sighting.weight))),
    weight,
    el("span", { class: `tier ${sighting.tier}` }, TIERS[sighting.tier] ?? sighting.tier),
  );
}

/** The evidence of an answer payload as an element; `thumbnail(moment)` gives a picture's address. */
export function evidenceOf(payload, thumbnail) {
  const evidence = payload.evidence;
  if (!evidence) return null;
  const cards = evidence.sightings.map((sighting) => {
    const middle = new Date((Date.parse(sighting.from) + Date.parse(sighting.to)) / 2).toISOString();
    const make = () => [picture(sighting, thumbnail(middle)), caption(sighting)];
    const open = () => closer(make());
    return el("li", {}, el("button", { type: "button", class: "sighting", onclick: open, "aria-label": `Enlarge ${stretch(sighting.from, sighting.to)}` }, el("figure", {}, ...make())));
  });
  const missing = evidence.uncovered.map((span) => stretch(span.from, span.to)).join(", ");
  return el(
    "section",
    { class: "evidence", "aria-label": "Evidence" },
    el("h3", {}, cards.length ? "What it rests on" : "It rests on no single moment."),
    el("ul", {}, ...cards),
    missing ? el("p", { class: "notice" }, `No longer remembered: ${missing}.`) : null,
    evidence.out_of_depth ? el("p", { class: "notice" }, `This picture is unlike what the model was trained on (score ${evidence.depth_score.toFixed(1)}; its own are below 1).`) : null,
  );
}

function closer(content) {
  byId("closer-body").replaceChildren(el("figure", {}, ...content));
  byId("closer").showModal();
}
