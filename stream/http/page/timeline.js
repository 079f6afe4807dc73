// What memory holds, drawn along time: one bar per block, tall when it is at hand, low when it is far.

import { byId, el, say, svg } from "./dom.js";
import { clock, count, duration, stretch } from "./words.js";

const WIDTH = 1000; // drawing units; the picture stretches to the card
const HEIGHT = 64;
const RANGES = [
  ["5 min", 300],
  ["1 h", 3600],
  ["6 h", 21600],
  ["all", Infinity],
];
const LEGEND = [
  ["hot", "HOT: at hand"],
  ["warm", "WARM: kept exact, aside"],
  ["cold", "COLD: kept as a summary"],
  ["open", "being seen"],
  ["gap", "not remembered"],
];
const TALL = { hot: 1, open: 1, warm: 0.72, cold: 0.46 };
const BETWEEN_LOOKS_S = 2; // a camera is looked at now and then: so short a time between two blocks is no hole
const STEPS_S = [5, 15, 30, 60, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400, 604800];

const at = (stamp) => new Date(stamp).getTime() / 1000;

export class Timeline {
  constructor(thumbnail) {
    this.thumbnail = thumbnail; // (moment) -> address of a picture
    this.range_s = Infinity;
    this.chosen = null;
    this.holdings = null;
    this.root = byId("timeline");
    byId("legend").append(
      ...LEGEND.map(([state, text]) => el("span", { class: "key" }, el("i", { class: `swatch ${state}` }), text)),
    );
    this.detail = el("div", { class: "detail", "aria-hidden": "true", hidden: true });
    this.drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.axis = el("div", { class: "axis", "aria-hidden": "true" });
    this.track = el(
      "div",
      {
        class: "track",
        tabindex: 0,
        role: "slider",
        "aria-label": "Memory, block by block. Use the arrow keys.",
        "aria-valuemin": 0,
        "aria-valuemax": 0,
        "aria-valuenow": 0,
        onpointermove: (event) => this.#point(event),
        onpointerdown: (event) => this.#point(event),
        onpointerleave: (event) => event.pointerType === "mouse" && this.#choose(null),
        onkeydown: (event) => this.#key(event),
        onblur: () => this.#choose(null),
      },
      this.drawing,
    );
    this.root.append(this.track, this.axis, this.detail);
  }

  /** Draw what a camera holds now, or nothing (null). */
  show(holdings) {
    this.holdings = holdings;
    this.#ranges();
    this.#draw();
  }

  #ranges() {
    const span = this.holdings?.covered ? at(this.holdings.covered.to) - at(this.holdings.covered.from) : 0;
    const fitting = RANGES.filter(([, range]) => range === Infinity || range < span);
    if (!fitting.some(([, range]) => range === this.range_s)) this.range_s = Infinity;
    const buttons = fitting.map(([name, range]) => {
      const choose = () => {
        this.range_s = range;
        this.#ranges();
        this.#draw();
      };
      return el("button", { type: "button", "aria-pressed": String(range === this.range_s), onclick: choose }, name);
    });
    byId("ranges").replaceChildren(...(fitting.length > 1 ? buttons : []));
  }

  #draw() {
    const held = this.holdings;
    const covered = held?.covered;
    this.root.classList.toggle("bare", !covered);
    if (!covered) {
      this.blocks = [];
      this.drawing.replaceChildren();
      this.axis.replaceChildren(el("p", { class: "empty" }, "Nothing is remembered yet. The first block is written when its segment closes."));
      return;
    }
    const end = at(covered.to);
    const start = Math.max(at(covered.from), end - this.range_s);
    const scale = WIDTH / Math.max(end - start, 1);
    this.blocks = held.blocks
      .map((block, place) => {
        const next_s = place + 1 < held.blocks.length ? at(held.blocks[place + 1].from) : end;
        const until_s = next_s - at(block.to) <= BETWEEN_LOOKS_S ? Math.max(next_s, at(block.to)) : at(block.to);
        return { ...block, left: (at(block.from) - start) * scale, right: (until_s - start) * scale };
      })
      .filter((block) => block.right > 0);
    const ground = svg("rect", { x: 0, y: 0, width: WIDTH, height: HEIGHT, class: "gap" });
    const bars = this.blocks.map((block) => {
      const height = HEIGHT * (TALL[block.state] ?? 0.3);
      const left = Math.max(block.left, 0);
      const width = Math.max(block.right - left - Math.min(1, (block.right - left) / 4), 1.2);
      const shape = { x: left, y: HEIGHT - height, width, height, class: `block ${block.state}`, "data-id": block.id };
      return svg("rect", block.pinned ? { ...shape, "data-pinned": true } : shape);
    });
    const now = svg("rect", { x: WIDTH - 3, y: 0, width: 3, height: HEIGHT, class: "instant" });
    this.cursor = svg("rect", { x: -10, y: 0, width: 1, height: HEIGHT, class: "cursor" });
    this.drawing.replaceChildren(hatch(), ground, ...bars, now, this.cursor);
    this.#ticks(start, end, scale);
    this.track.setAttribute("aria-valuemax", Math.max(this.blocks.length - 1, 0));
    say(byId("coverage"), `${duration(at(covered.to) - at(covered.from))}, since ${clock(covered.from)}`);
    if (this.chosen !== null) this.#choose(this.blocks.find((block) => block.id === this.chosen) ?? null);
  }

  #ticks(start, end, scale) {
    const step = STEPS_S.find((seconds) => (end - start) / seconds <= this.root.clientWidth / 90) ?? STEPS_S.at(-1);
    const zone_s = new Date(start * 1000).getTimezoneOffset() * 60;
    const marks = [];
    for (let s = Math.ceil((start - zone_s) / step) * step + zone_s; s < end; s += step) {
      const share = ((s - start) * scale) / WIDTH;
      if (share < 0.03 || share > 1 - 70 / this.root.clientWidth) continue;
      const mark = el("time", {}, clock(s * 1000, step < 60));
      mark.style.left = `${share * 100}%`;
      marks.push(mark);
    }
    this.axis.replaceChildren(...marks, el("b", {}, "now"));
  }

  #point(event) {
    const box = this.track.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * WIDTH;
    const near = this.blocks?.find((block) => x >= block.left && x <= block.right) ?? null;
    if ((near?.id ?? null) !== this.chosen) this.#choose(near);
  }

  #key(event) {
    const last = (this.blocks?.length ?? 0) - 1;
    if (last < 0) return;
    const here = this.blocks.findIndex((block) => block.id === this.chosen);
    const from = here < 0 ? last + 1 : here;
    const to = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, PageUp: from - 10, PageDown: from + 10 };
    if (event.key === "Escape") return this.#choose(null);
    if (!(event.key in to)) return;
    event.preventDefault();
    this.#choose(this.blocks[Math.min(Math.max(to[event.key], 0), last)]);
  }

  #choose(block) {
    const same = block !== null && block.id === this.chosen && !this.detail.hidden;
    this.chosen = block?.id ?? null;
    this.detail.hidden = block === null;
    if (block === null) return this.cursor?.setAttribute("x", -10);
    const left = Math.max(block.left, 0);
    this.cursor.setAttribute("x", left);
    this.cursor.setAttribute("width", Math.max(block.right - left, 1.5));
    const kept = `${block.state.toUpperCase()} \u00b7 ${count(block.tokens)} tokens of ${count(block.patches)} patches`;
    const where = `${stretch(block.from, block.to)}, ${kept}`;
    this.track.setAttribute("aria-valuenow", this.blocks.indexOf(block));
    this.track.setAttribute("aria-valuetext", `${where}. ${block.reason}`);
    if (!same) {
      const middle = new Date((at(block.from) + at(block.to)) * 500).toISOString();
      const picture = el("img", { src: this.thumbnail(middle), alt: "", loading: "lazy", onerror: (event) => event.target.remove() });
      this.detail.replaceChildren(
        picture,
        el("b", { class: "num" }, stretch(block.from, block.to)),
        el("span", {}, kept),
        el("span", { class: "muted" }, block.reason || null, block.recalls ? ` Recalled ${block.recalls} times.` : null),
      );
    }
    const middle = (left + block.right) / 2 / WIDTH;
    this.detail.style.left = `${middle * 100}%`;
    this.detail.style.setProperty("--shift", `${-Math.min(Math.max(middle, 0), 1) * 100}%`);
  }
}

const hatch = () =>
  svg(
    "defs",
    {},
    svg(
      "pattern",
      { id: "hatch", width: 7, height: 7, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 7, height: 7, class: "hatch-ground" }),
      svg("rect", { width: 1.6, height: 7, class: "hatch-line" }),
    ),
  );
