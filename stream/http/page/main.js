// The dashboard: which camera is looked at, and what the stream of events changes on the page.

import { json, listen } from "./api.js";
import { Asking } from "./asking.js";
import { atMostEvery, byId, el, say } from "./dom.js";
import { showGauges } from "./gauges.js";
import { showHistory } from "./history.js";
import { Live } from "./live.js";
import { Timeline } from "./timeline.js";
import { clock, duration, sentence, STATES } from "./words.js";

let stale_s = 10; // the server says
const cameras = new Map(); // id -> {id, name, status, newest_ms: when its newest picture came, by our own clock}
let chosen = null;

const address = (rest) => `/api/v1/cameras/${encodeURIComponent(chosen)}${rest}`;
const asking = new Asking();
const timeline = new Timeline((moment) => address(`/thumbnail.jpg?time=${encodeURIComponent(moment)}`));
const live = new Live((via) => say(byId("via"), via));

function trouble(error) {
  byId("trouble").hidden = error === null;
  if (error !== null) say(byId("trouble"), sentence(error));
}

const refreshMemory = atMostEvery(1000, async () => {
  const camera = chosen;
  if (camera === null || document.hidden) return;
  try {
    const held = await json(address("/memory"));
    if (camera !== chosen) return;
    timeline.show(held);
    showGauges(held);
  } catch (error) {
    say(byId("coverage"), sentence(error));
  }
});

const refreshHistory = atMostEvery(500, () => chosen !== null && showHistory(chosen, (id) => asking.recall(id)));

async function refreshCameras() {
  try {
    const told = await json("/api/v1/cameras");
    stale_s = told.stale_after_ms / 1000;
    for (const camera of told.cameras) {
      const age = camera.picture?.age_ms;
      cameras.set(camera.id, { ...camera, newest_ms: age === undefined ? null : performance.now() - age });
    }
    for (const id of [...cameras.keys()]) if (!told.cameras.some((camera) => camera.id === id)) cameras.delete(id);
    trouble(cameras.size ? null : "No camera is configured. Add one under `cameras:` in the configuration.");
    byId("main").hidden = cameras.size === 0;
    drawCameras();
    choose();
  } catch (error) {
    trouble(error);
  }
}

function drawCameras() {
  const links = [...cameras.values()].map((camera) => {
    const current = camera.id === chosen ? "true" : null;
    const state = STATES[camera.status.state] ?? camera.status.state;
    const dot = el("i", { class: "dot", "data-state": camera.status.state });
    return el("a", { href: `#${camera.id}`, class: "camera", "aria-current": current, title: state, "aria-label": `${camera.name}, ${state}` }, dot, camera.name);
  });
  const strip = byId("cameras");
  const [before, shown] = [strip.scrollLeft, strip.querySelector("[aria-current]")?.getAttribute("href")];
  strip.replaceChildren(...(links.length > 1 ? links : []));
  strip.scrollLeft = before;
  const current = strip.querySelector("[aria-current]");
  if (current && current.getAttribute("href") !== shown) current.scrollIntoView({ block: "nearest", inline: "nearest" }); // on a phone
}

function choose() {
  const asked = decodeURIComponent(location.hash.slice(1));
  const next = cameras.has(asked) ? asked : cameras.has(chosen) ? chosen : [...cameras.keys()][0] ?? null;
  const changed = next !== chosen;
  chosen = next;
  if (chosen === null) return;
  if (changed) {
    drawCameras();
    asking.turnTo(chosen, cameras.get(chosen).name);
    timeline.show(null);
    showGauges(null);
    byId("pulse").replaceChildren();
    live.watch(chosen);
  }
  drawState();
  refreshMemory();
  refreshHistory();
}

function drawState() {
  const camera = cameras.get(chosen);
  if (!camera) return;
  const { state, reason } = camera.status;
  document.title = `${camera.name} \u00b7 Longwatch`;
  say(byId("name"), camera.name);
  say(byId("state"), STATES[state] ?? state);
  byId("dot").dataset.state = state;
  const waiting = state === "waiting" ? `Nobody publishes to this camera yet. Open /publish on the device whose camera it is.` : "Waiting for the first picture.";
  say(byId("blank"), reason || waiting);
  drawAge();
}

function drawAge() {
  const camera = cameras.get(chosen);
  const age = camera?.newest_ms == null ? null : (performance.now() - camera.newest_ms) / 1000;
  const stale = age !== null && age > stale_s;
  byId("stale").hidden = !stale;
  byId("picture").classList.toggle("old", stale);
  say(byId("clock"), clock(Date.now()));
  say(byId("age"), age === null ? "no picture yet" : `picture ${duration(age)} old`);
}

function drawPulse(tick) {
  const facts = [
    ["in", `${tick.frames_in}/s`],
    ["looked at", `${tick.frames_seen}/s`],
    ["unchanged", `${tick.frames_gated}/s`],
    ["dropped", `${tick.frames_dropped}/s`],
    ["one look", tick.see_ms ? `${Math.round(tick.see_ms)} ms` : "\u2013"],
    ["tokens", `${tick.tokens_in}\u2009\u2192\u2009${tick.tokens_kept}`],
  ];
  byId("pulse").replaceChildren(...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", { class: "num" }, value))));
}

const mine = (handle) => (told) => told.camera === chosen && handle(told.data);

listen(
  {
    tick: (told) => {
      const camera = cameras.get(told.camera);
      if (!camera) return;
      if (told.data.frames_in > 0) camera.newest_ms = performance.now();
      if (told.camera !== chosen) return;
      drawPulse(told.data);
      drawAge();
      live.tick();
    },
    camera_state: (told) => {
      const camera = cameras.get(told.camera);
      if (!camera) return refreshCameras();
      camera.status = told.data;
      drawCameras();
      if (told.camera !== chosen) return;
      drawState();
      if (told.data.online && !live.via) live.restart();
    },
    memory: mine(refreshMemory),
    question: mine(refreshHistory),
    answer: mine(refreshHistory),
    gap: refreshCameras,
  },
  (link) => {
    if (link === "connected" && byId("link").dataset.state === "lost") live.restart();
    byId("link").dataset.state = link;
    say(byId("link"), link === "connected" ? "connected" : "connection lost, trying again");
    if (link === "connected") refreshCameras();
  },
);

addEventListener("hashchange", choose);
document.addEventListener("visibilitychange", () => document.hidden || refreshMemory());
setInterval(drawAge, 1000); // the clock on the picture; asks the server nothing
refreshCameras();
json("/version").then((told) => say(byId("version"), `Longwatch ${told.version} \u00b7 ${told.model}`), () => {});
