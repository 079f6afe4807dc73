// Earlier questions of a camera, newest first; one click brings an answer back with its evidence.

import { json } from "./api.js";
import { byId, el } from "./dom.js";
import { ago, clock, sentence } from "./words.js";

const SHOWN = 12;

export async function showHistory(camera, recall) {
  const list = byId("history");
  try {
    const { questions } = await json(`/api/v1/questions?camera=${encodeURIComponent(camera)}&limit=${SHOWN}`);
    const rows = questions.map((told) => {
      const text = told.answer ?? told.error?.message ?? "Not answered yet.";
      const time = el("time", { class: "muted num", datetime: told.asked_at, title: clock(told.asked_at) }, ago(told.asked_at));
      const line = el("span", { class: "line" }, el("b", {}, told.question), time);
      return el("li", {}, el("button", { type: "button", class: "earlier", "data-status": told.status, onclick: () => recall(told.id) }, line, el("span", { class: "reply" }, text)));
    });
    list.replaceChildren(...(rows.length ? rows : [el("li", { class: "empty" }, "No questions yet.")]));
  } catch (error) {
    list.replaceChildren(el("li", { class: "notice bad" }, sentence(error)));
  }
}
