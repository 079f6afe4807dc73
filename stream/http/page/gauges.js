// How full the memory is, against its budget, and what it made of all it saw.

import { byId, el } from "./dom.js";
import { bytes, count, percent } from "./words.js";

const MAIN_PARTS = ["hot", "warm", "cold", "instant"];

function bar(label, told, shares, whole) {
  const parts = shares
    .filter(([, value]) => value > 0)
    .map(([name, value, kind]) => {
      const part = el("i", { class: `share ${kind}`, title: `${name}: ${percent(value / whole)}` });
      part.style.width = `${(100 * value) / whole}%`;
      return part;
    });
  const used = shares.reduce((sum, [, value]) => sum + value, 0);
  const meter = { role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": whole, "aria-valuenow": used, "aria-valuetext": told };
  return el("div", { class: "gauge" }, el("div", { class: "line" }, el("b", {}, label), el("span", { class: "num" }, told)), el("div", { class: "bar-track", ...meter }, ...parts));
}

function partsOf(bytesByPart) {
  const main = MAIN_PARTS.filter((name) => name in bytesByPart).map((name) => [name, bytesByPart[name], name]);
  const rest = Object.entries(bytesByPart).filter(([name]) => !MAIN_PARTS.includes(name));
  return [...main, ["token base, map and ledger", rest.reduce((sum, [, value]) => sum + value, 0), "other"]];
}

/** Draw the gauges of what a camera holds, or clear them (null). */
export function showGauges(held) {
  if (!held) return byId("gauges").replaceChildren();
  const tokens = Object.entries(held.tokens_by_state).filter(([, value]) => value > 0);
  const kept = tokens.reduce((sum, [, value]) => sum + value, 0);
  const said = tokens.filter(([state]) => state !== "open").map(([state, value]) => `${count(value)} ${state}`).join(" \u00b7 ");
  const size = bar("Bytes", `${bytes(held.bytes)} of ${bytes(held.budget_bytes)}`, partsOf(held.bytes_by_part), Math.max(held.budget_bytes, held.bytes, 1));
  const row = bar("Tokens", said || "none yet", tokens.map(([state, value]) => [state, value, state]), Math.max(kept, 1));
  const ratio = kept > 0 ? `, one for every ${count(Math.max(1, held.patches_seen / kept))}` : "";
  const sum = `${count(held.patches_seen)} patches of ${count(held.frames_seen)} frames became ${count(kept)} tokens${ratio}.`;
  return byId("gauges").replaceChildren(size, row, el("p", { class: "muted sum" }, sum));
}
