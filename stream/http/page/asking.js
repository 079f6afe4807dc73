// The ask box: a question out, words in as they come, then what the answer rests on.

import { ask, json } from "./api.js";
import { byId, el } from "./dom.js";
import { evidenceOf } from "./evidence.js";
import { clock, duration, sentence } from "./words.js";

const SUGGESTIONS = [
  "What is there now?",
  "How many people are there?",
  "Which way is the car moving?",
  "How many different cars have there been?",
  "Did you see a dog before?",
];

export class Asking {
  constructor() {
    this.camera = null;
    this.stopping = null;
    this.form = byId("ask");
    this.question = byId("question");
    this.area = byId("answer");
    this.empty = this.area.firstElementChild;
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.stopping) return this.stop();
      this.#ask(this.question.value.trim());
    });
    this.question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.form.requestSubmit();
    });
    this.question.addEventListener("input", () => this.#grow());
    const suggest = (text) => () => {
      this.question.value = text;
      this.#grow();
      this.#ask(text);
    };
    byId("suggestions").append(...SUGGESTIONS.map((text) => el("button", { type: "button", class: "chip", onclick: suggest(text) }, text)));
  }

  /** From now on questions go to this camera. */
  turnTo(camera, name) {
    if (camera === this.camera) return;
    this.stop();
    this.camera = camera;
    this.question.placeholder = `Ask ${name} something\u2026`;
    this.area.replaceChildren(this.empty);
  }

  stop() {
    this.stopping?.abort();
  }

  /** An earlier question and its answer, with its evidence. */
  async recall(id) {
    this.stop();
    try {
      const told = await json(`/api/v1/questions/${encodeURIComponent(id)}`);
      this.#frame(told.question).said.append(told.answer ?? "");
      this.#finish(told);
    } catch (error) {
      this.area.replaceChildren(el("p", { class: "notice bad", role: "alert" }, sentence(error)));
    }
    this.area.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  #grow() {
    this.question.style.height = "auto";
    this.question.style.height = `${this.question.scrollHeight}px`;
  }

  #frame(question) {
    const said = el("p", { class: "said" });
    this.area.replaceChildren(el("p", { class: "asked" }, question), said);
    this.area.setAttribute("aria-busy", "true");
    return { said };
  }

  async #ask(text) {
    if (!text) return this.question.focus();
    if (this.camera === null) return;
    this.stop();
    const stopping = new AbortController();
    this.stopping = stopping;
    const { said } = this.#frame(text);
    this.question.value = "";
    this.#grow();
    said.classList.add("coming");
    byId("send").textContent = "Stop";
    const body = { question: text, source: "page" };
    if (byId("window").value) body.window_s = Number(byId("window").value);
    try {
      let ended = false;
      for await (const { name, data } of ask(this.camera, body, stopping.signal)) {
        if (name === "piece") said.append(el("span", { class: "piece" }, said.hasChildNodes() ? data.text : data.text.trimStart()));
        if (name === "answer") this.#finish(data, said);
        if (name === "error") this.#fail(data.message ?? data.detail, said);
        ended ||= name === "answer" || name === "error";
      }
      if (!ended) this.#fail("The connection ended before the answer did. Ask again.", said);
    } catch (error) {
      if (error.name === "AbortError") this.#fail("Stopped.", said);
      else this.#fail(sentence(error), said);
    } finally {
      said.classList.remove("coming");
      if (this.stopping === stopping) {
        this.stopping = null;
        byId("send").textContent = "Ask";
      }
    }
  }

  #fail(message, said) {
    if (!said.isConnected) return;
    if (!this.question.value) {
      this.question.value = this.area.querySelector(".asked").textContent; // to try again
      this.#grow();
    }
    this.area.append(el("p", { class: "notice bad", role: "alert" }, message));
    this.area.setAttribute("aria-busy", "false");
  }

  #finish(told, said = null) {
    if (said !== null && !said.isConnected) return;
    this.area.setAttribute("aria-busy", "false");
    if (told.error) this.area.append(el("p", { class: "notice bad" }, told.error.message));
    if (told.answer === "") this.area.append(el("p", { class: "notice" }, "The model had nothing to say to this."));
    this.area.append(el("p", { class: "facts muted num" }, facts(told)));
    const camera = encodeURIComponent(told.camera);
    const shown = evidenceOf(told, (moment) => `/api/v1/cameras/${camera}/thumbnail.jpg?time=${encodeURIComponent(moment)}`);
    if (shown) this.area.append(shown);
  }
}

function facts(told) {
  const { first_token: first, total } = told.latency_ms ?? {};
  const age = told.evidence?.newest_frame_age_ms;
  const since = told.evidence?.memory_from;
  return [
    `asked ${clock(told.asked_at)}`,
    first ? `first word after ${duration(first / 1000)}` : null,
    total ? `whole answer ${duration(total / 1000)}` : null,
    age !== null && age !== undefined ? `newest picture ${duration(age / 1000)} old` : null,
    since ? `memory since ${clock(since)}` : null,
  ]
    .filter(Boolean)
    .join(" \u00b7 ");
}
