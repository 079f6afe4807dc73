// The live picture: WebRTC (WHEP) first, motion JPEG when that does not come, single pictures when even that fails.
// What is less than WebRTC goes on looking for it: a server that was busy once is not busy for ever.

import { byId, say } from "./dom.js";

const FIRST_PICTURE_MS = 6000;
const AGAIN_MS = 8000;
const HEAL_MS = 5000; // a network that changes says "disconnected" for a moment and then goes on
const BETTER_MS = 30000;

export class Live {
  /** `told(via)` is called with "WebRTC", "MJPEG", "stills" or "". */
  constructor(told) {
    this.video = byId("video");
    this.still = byId("still");
    this.told = told;
    this.camera = null;
    this.ending = null;
    const shape = (width, height) => {
      if (!width) return;
      byId("picture").style.setProperty("aspect-ratio", `${width} / ${height}`);
      byId("picture").classList.toggle("tall", height > width);
    };
    this.video.addEventListener("resize", () => shape(this.video.videoWidth, this.video.videoHeight));
    this.still.addEventListener("load", () => shape(this.still.naturalWidth, this.still.naturalHeight));
    document.addEventListener("visibilitychange", () => (document.hidden ? this.#stop() : this.#start()));
    addEventListener("pagehide", () => this.#stop());
  }

  watch(camera) {
    if (camera === this.camera) return;
    this.#stop();
    this.camera = camera;
    if (!document.hidden) this.#start();
  }

  /** Begin anew, with the best way first: the server or the camera has come back. */
  restart() {
    this.#stop();
    if (!document.hidden) this.#start();
  }

  /** A second has passed: when single pictures are all there is, take the next one. */
  tick() {
    if (this.via === "stills" && !document.hidden) this.#still();
  }

  async #start() {
    if (this.camera === null || this.ending) return;
    const ending = new AbortController();
    this.ending = ending;
    const whep = await this.#whep(ending.signal).catch(() => false);
    if (!whep && !ending.signal.aborted) this.#makeDo(ending.signal);
  }

  /** Motion JPEG, until WebRTC comes after all. */
  #makeDo(signal) {
    this.#mjpeg(signal);
    if ("RTCPeerConnection" in window) this.#better(signal);
  }

  #better(signal) {
    setTimeout(async () => {
      if (signal.aborted) return;
      const whep = await this.#whep(signal).catch(() => false);
      if (!whep && !signal.aborted) this.#better(signal);
    }, BETTER_MS);
  }

  #stop() {
    this.ending?.abort();
    this.ending = null;
    this.#show("", null);
    this.video.srcObject = null;
    this.#noStill();
  }

  #noStill() {
    this.still.onload = this.still.onerror = null;
    this.still.removeAttribute("src"); // ends the stream of motion JPEG
  }

  #show(via, element) {
    this.via = via;
    this.video.hidden = element !== this.video;
    this.still.hidden = element !== this.still;
    byId("blank").hidden = element !== null;
    byId("picture").dataset.via = via || "none";
    this.told(via);
  }

  async #whep(signal) {
    if (!("RTCPeerConnection" in window)) return false;
    const peer = new RTCPeerConnection();
    let session = null;
    const leave = () => {
      signal.removeEventListener("abort", leave);
      const close = () => peer.close();
      // Goodbye first: a connection that closes is let go by the server, and there would be nothing left to delete.
      if (session) fetch(session, { method: "DELETE", keepalive: true }).then(close, close);
      else close();
      session = null;
    };
    signal.addEventListener("abort", leave, { once: true });
    try {
      peer.addTransceiver("video", { direction: "recvonly" });
      const track = new Promise((resolve) => (peer.ontrack = (event) => resolve(event)));
      await peer.setLocalDescription(await peer.createOffer());
      await gathered(peer);
      const reply = await fetch(`/whep/${encodeURIComponent(this.camera)}`, {
        method: "POST",
        headers: { "Content-Type": "application/sdp" },
        body: peer.localDescription.sdp,
        signal,
      });
      if (!reply.ok) throw new Error(`WHEP ${reply.status}`);
      session = reply.headers.get("Location");
      await peer.setRemoteDescription({ type: "answer", sdp: await reply.text() });
      const { streams, track: sent } = await within(FIRST_PICTURE_MS, track);
      this.video.srcObject = streams[0] ?? new MediaStream([sent]);
      this.video.hidden = false; // a hidden one may never play
      await within(FIRST_PICTURE_MS, playing(this.video));
    } catch (error) {
      leave();
      if (!signal.aborted) this.video.hidden = true; // else it may be another camera's by now
      throw error;
    }
    if (signal.aborted) return leave(), true;
    this.#noStill();
    this.#show("WebRTC", this.video);
    let ill = null;
    const lost = () => {
      peer.onconnectionstatechange = null;
      if (signal.aborted) return;
      leave();
      this.via = "";
      this.#makeDo(signal);
    };
    peer.onconnectionstatechange = () => {
      clearTimeout(ill);
      if (peer.connectionState === "disconnected") ill = setTimeout(lost, HEAL_MS);
      else if (["failed", "closed"].includes(peer.connectionState)) lost();
    };
    return true;
  }

  #mjpeg(signal) {
    const camera = encodeURIComponent(this.camera);
    const needless = () => signal.aborted || this.via === "WebRTC";
    const failed = () => {
      if (needless()) return;
      this.via = "stills";
      this.#still();
      setTimeout(() => needless() || this.#mjpeg(signal), AGAIN_MS);
    };
    this.still.onload = () => needless() || this.#show("MJPEG", this.still);
    this.still.onerror = failed;
    this.still.src = `/api/v1/cameras/${camera}/live.mjpg?width=960&t=${Date.now()}`;
  }

  #still() {
    const camera = this.camera;
    const next = new Image();
    next.onload = () => {
      if (this.via !== "stills" || camera !== this.camera) return;
      this.still.onload = this.still.onerror = null;
      this.still.src = next.src;
      this.#show("stills", this.still);
    };
    next.onerror = () => {
      if (this.via !== "stills") return;
      this.#show("stills", null);
      say(byId("blank"), "There is no recent picture of this camera.");
    };
    next.src = `/api/v1/cameras/${encodeURIComponent(camera)}/snapshot.jpg?width=960&t=${Date.now()}`;
  }
}

const within = (ms, promise) =>
  Promise.race([promise, new Promise((_, reject) => setTimeout(() => reject(new Error("too late")), ms))]);

const playing = (video) =>
  new Promise((resolve) => {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(resolve);
    else video.addEventListener("timeupdate", resolve, { once: true });
  });

/** All candidates found, or a second gone: what is in the offer by then is enough on one network. */
const gathered = (peer) =>
  new Promise((resolve) => {
    if (peer.iceGatheringState === "complete") resolve();
    peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && resolve());
    setTimeout(resolve, 1000);
  });
