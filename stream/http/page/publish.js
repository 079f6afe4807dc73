// This device's camera, sent to Longwatch over WHIP.

import { json } from "./api.js";
import { byId, el, say } from "./dom.js";
import { sentence } from "./words.js";

const STATE_WORDS = {
  idle: "off",
  asking: "asking for the camera",
  connecting: "connecting",
  live: "on air",
  reconnecting: "connecting again",
};
const CONNECT_MS = 10000;
const AGAIN_MS = [1000, 15000];

const TROUBLES = {
  NotAllowedError:
    "The camera was not allowed. Allow it for this page (usually by the camera sign in the address bar), then press Start again.",
  NotFoundError: "This device has no camera that the browser can use. Connect one, then press Start again.",
  NotReadableError: "The camera is there but does not start: another program may be using it. Close that program, then press Start again.",
  OverconstrainedError: "That camera is not there any more. Choose another one, then press Start again.",
  AbortError: "The camera stopped while it was starting. Press Start again.",
  SecurityError: "This browser does not let pages use the camera. Check its privacy settings.",
  NotSupportedError: "This browser does not let pages use the camera. Use another one.",
};

/** Why this page cannot have a camera at all, or null. */
function obstacle() {
  if (!window.isSecureContext) {
    return `Browsers give a page the camera only over https, or on the machine itself. This page came over plain http from ${location.hostname}. Open it over https, or at http://localhost on the machine that runs Longwatch.`;
  }
  if (!navigator.mediaDevices?.getUserMedia) return "This browser does not let pages use the camera.";
  if (!("RTCPeerConnection" in window)) return "This browser has no WebRTC, or it is switched off. Switch it on, or use another browser.";
  return null;
}

/** One session at the WHIP endpoint, from offer to goodbye. */
class Session {
  constructor(camera, track) {
    this.peer = new RTCPeerConnection();
    this.camera = camera;
    this.address = null;
    this.over = new Promise((resolve) => (this.#ended = resolve));
    this.sender = this.peer.addTransceiver(track, { direction: "sendonly", streams: [] }).sender;
  }

  #ended;

  async open() {
    await this.peer.setLocalDescription(await this.peer.createOffer());
    const reply = await fetch(`/whip/${encodeURIComponent(this.camera)}`, {
      method: "POST",
      headers: { "Content-Type": "application/sdp" },
      body: this.peer.localDescription.sdp, // its candidates may still be missing: our first check shows our address
      signal: AbortSignal.timeout(CONNECT_MS),
    });
    if (reply.status !== 201) {
      const told = await reply.json().catch(() => ({}));
      throw Object.assign(new Error(told.detail ?? `Longwatch answered with status ${reply.status}.`), { status: reply.status });
    }
    this.address = reply.headers.get("Location");
    await this.peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
    await this.#connected();
    // What is small in the picture matters more than a smooth picture. Not every browser lets us choose.
    const parameters = { ...this.sender.getParameters(), degradationPreference: "maintain-resolution" };
    this.sender.setParameters(parameters).catch(() => {});
    this.peer.onconnectionstatechange = () => {
      if (["failed", "closed", "disconnected"].includes(this.peer.connectionState)) this.close();
    };
  }

  #connected() {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error("No connection came about. A firewall may block WebRTC (UDP).")), CONNECT_MS);
      const look = () => {
        if (this.peer.connectionState === "connected") resolve();
        else if (["failed", "closed"].includes(this.peer.connectionState)) reject(new Error("The WebRTC connection failed."));
        else return;
        clearTimeout(timer);
      };
      this.peer.onconnectionstatechange = look;
      look();
    });
  }

  close() {
    this.peer.close();
    if (this.address) fetch(this.address, { method: "DELETE", keepalive: true }).catch(() => {});
    this.address = null;
    this.#ended();
  }
}

/** What was asked for in the form, and what became of it. */
class Studio {
  constructor() {
    this.stream = null;
    this.session = null;
    this.wanted = false;
    this.lock = null;
    this.bytes = null;
  }

  tell(state) {
    this.state = state;
    byId("state").dataset.state = state;
    say(byId("state"), STATE_WORDS[state]);
    byId("start").hidden = this.wanted;
    byId("stop").hidden = !this.wanted;
    byId("camera").disabled = this.wanted;
    if (state === "idle") say(byId("numbers"), "");
  }

  complain(text) {
    byId("notice").hidden = !text;
    byId("notice").classList.toggle("bad", Boolean(text));
    say(byId("notice"), text);
  }

  async start() {
    this.complain("");
    this.wanted = true;
    this.tell("asking");
    try {
      await this.#film();
    } catch (error) {
      return this.stop(TROUBLES[error.name] ?? sentence(error));
    }
    if (!this.wanted) return this.stop();
    this.lock = await navigator.wakeLock?.request("screen").catch(() => null);
    await this.#keepPublishing();
  }

  stop(why = "") {
    this.wanted = false;
    this.session?.close();
    this.session = null;
    this.lock?.release().catch(() => {});
    this.#show(null);
    this.complain(why);
    this.tell("idle");
  }

  /** Another device or resolution while on air: the picture changes, the session stays. */
  async change() {
    if (!this.wanted || this.state === "asking") return;
    try {
      await this.#film();
      await this.session?.sender.replaceTrack(this.stream.getVideoTracks()[0]);
    } catch (error) {
      this.stop(TROUBLES[error.name] ?? sentence(error));
    }
  }

  async #film() {
    const [width, height] = byId("form").elements.size.value.split("x").map(Number);
    const [kind, value] = byId("device").value.split("=");
    const device = kind === "id" ? { deviceId: { exact: value } } : kind === "facing" ? { facingMode: value } : {};
    const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: 25, max: 30 } };
    this.stream?.getTracks().forEach((track) => track.stop()); // most phones open one camera at a time
    this.#show(await navigator.mediaDevices.getUserMedia({ video: { ...device, ...size }, audio: false }));
    await listDevices();
  }

  #show(stream) {
    if (stream === null) this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = stream;
    byId("video").srcObject = stream;
    byId("video").hidden = stream === null;
    byId("blank").hidden = stream !== null;
    const track = stream?.getVideoTracks()[0];
    if (!track) return;
    byId("video").classList.toggle("mirrored", track.getSettings().facingMode === "user");
    track.onended = () => this.wanted && this.stop("The camera was taken away or unplugged.");
  }

  async #keepPublishing() {
    let wait_ms = AGAIN_MS[0];
    for (let first = true; this.wanted; first = false) {
      this.tell(first ? "connecting" : "reconnecting");
      const session = new Session(byId("camera").value, this.stream.getVideoTracks()[0]);
      this.session = session;
      try {
        await session.open();
        if (!this.wanted) break;
        this.complain("");
        this.tell("live");
        wait_ms = AGAIN_MS[0];
        await session.over;
      } catch (error) {
        session.close();
        if (!this.wanted) break;
        const final = first && error.status >= 400 && error.status < 500 && error.status !== 429;
        if (final) return this.stop(sentence(error));
        this.complain(`${sentence(error)} Trying again.`);
      }
      if (!this.wanted) break;
      this.tell("reconnecting");
      await new Promise((resolve) => setTimeout(resolve, wait_ms * (0.5 + Math.random() / 2)));
      wait_ms = Math.min(2 * wait_ms, AGAIN_MS[1]);
    }
  }

  /** What leaves this device, once a second. */
  async measure() {
    if (this.state !== "live") return;
    const stats = await this.session?.peer.getStats();
    for (const out of stats?.values() ?? []) {
      if (out.type !== "outbound-rtp" || out.kind !== "video") continue;
      const rate = this.bytes === null ? 0 : Math.max(0, out.bytesSent - this.bytes) * 8;
      this.bytes = out.bytesSent;
      const size = out.frameWidth ? `${out.frameWidth} × ${out.frameHeight}` : "";
      const parts = [size, `${Math.round(out.framesPerSecond ?? 0)} fps`, `${(rate / 1e6).toFixed(1)} Mbit/s`];
      say(byId("numbers"), parts.filter(Boolean).join(" · "));
    }
  }
}

/** The device's cameras; before permission browsers tell no names, so phones get front and back to choose from. */
async function listDevices() {
  const found = (await navigator.mediaDevices.enumerateDevices()).filter((device) => device.kind === "videoinput");
  const named = found.filter((device) => device.label);
  const chosen = byId("device").value;
  const options = named.map((device) => [`id=${device.deviceId}`, device.label]);
  if (!named.length && navigator.maxTouchPoints > 0) options.push(["facing=environment", "Back camera"], ["facing=user", "Front camera"]);
  if (!options.length) options.push(["", "Default camera"]);
  byId("device").replaceChildren(...options.map(([value, label]) => el("option", { value }, label)));
  const running = studio.stream?.getVideoTracks()[0]?.getSettings().deviceId;
  for (const value of [chosen, `id=${running}`]) {
    if (options.some(([known]) => known === value)) byId("device").value = value;
  }
}

/** The cameras of this Longwatch that take a publisher, and how each is doing. */
async function listCameras() {
  const { cameras } = await json("/whip");
  const select = byId("camera");
  const asked = select.value || new URLSearchParams(location.search).get("camera");
  if (cameras.map((camera) => camera.id).join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...cameras.map((camera) => el("option", { value: camera.id }, camera.id)));
    if (cameras.some((camera) => camera.id === asked)) select.value = asked;
  }
  byId("start").disabled = !cameras.length;
  if (!cameras.length) studio.complain("No camera of this Longwatch waits for a publisher. Add one with `source: whip` to its configuration.");
  const own = cameras.find((camera) => camera.id === select.value);
  if (own) say(byId("received"), own.state === "online" ? "Longwatch receives the picture." : own.reason);
  say(byId("target"), studio.wanted && own ? own.id : "");
}

const studio = new Studio();
studio.tell("idle");
byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  studio.start();
});
byId("stop").addEventListener("click", () => studio.stop());
byId("device").addEventListener("change", () => studio.change());
byId("form").addEventListener("change", (event) => event.target.name === "size" && studio.change());
addEventListener("pagehide", () => studio.stop());
setInterval(() => studio.measure(), 1000);

const refused = obstacle();
if (refused) {
  studio.complain(refused);
  byId("start").disabled = true;
} else {
  listDevices();
  const refresh = () => document.hidden || listCameras().catch((error) => studio.complain(sentence(error)));
  refresh();
  setInterval(refresh, 2000);
}
