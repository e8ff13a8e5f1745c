// One socket for the whole page: its state in words, reconnecting with jitter, noticing a refused token, and the choice
// between WebSocket and long polling.

import { LongPoll, Socket } from "./vendor/phoenix.mjs";

const BACKOFF_MS = [50, 150, 300, 600, 1000, 2000, 5000];
// A WebSocket that is not open after this long, or dies sooner than that, has failed.
const OPEN_MAX_MS = 4000;
const LIFE_MIN_MS = 5000;
// Failures in a row, all of them with a server that answers, after which the page polls.
const FAILURES_MAX = 3;
const PROBES_MS = [5000, 10_000, 20_000, 40_000, 60_000];

/** Returns the delay before attempt `tries` (from 1), spread by half: a restart must not bring all back at once. */
export function reconnectDelayMs(tries, random = Math.random) {
  const base = BACKOFF_MS[Math.min(tries, BACKOFF_MS.length) - 1] ?? 5000;
  return Math.round(base * (0.75 + random() * 0.5));
}

/** A storage that stores nothing: the page itself finds out whether WebSockets work. */
class NoStorage {
  getItem() {
    return null;
  }

  setItem() {}
}

/**
 * Emits `change` whenever `state` changes: "connecting", "open", "reconnecting" or "offline"; and `refused` when the
 * server does not take the token.
 */
export class Connection extends EventTarget {
  #failures = 0;
  #webSocketFailures = 0;
  #probes = 0;
  #attemptAt = 0;
  #openedAt = 0;
  #opened = false;
  #closed = false;
  #openTimer = null;
  #probeTimer = null;

  constructor({ url, token, device, isTokenGood, isServerUp }) {
    super();
    this.state = "connecting";
    this.token = token;
    this.isTokenGood = isTokenGood;
    this.isServerUp = isServerUp;
    this.socket = new Socket(url, {
      authToken: token,
      // Frames of format 2, which can be resumed after a lost connection.
      params: { device, member_list: 2 },
      timeout: 10_000,
      // Otherwise Phoenix uses the real one, which a third-party frame may not access.
      sessionStorage: new NoStorage(),
      heartbeatIntervalMs: 25_000,
      reconnectAfterMs: (tries) => {
        const delay = reconnectDelayMs(tries);
        this.#watchOpening(delay);
        return delay;
      },
      rejoinAfterMs: (tries) => [500, 1000, 2000, 5000][tries - 1] ?? 10_000,
    });
    this.socket.onOpen(() => this.#onOpen());
    this.socket.onClose(() => this.#onClose());
    this.socket.onError(() => this.#onFailure());
    this.onLine = () => this.#onDown();
    globalThis.addEventListener?.("online", this.onLine);
    globalThis.addEventListener?.("offline", this.onLine);
  }

  connect() {
    this.#watchOpening();
    this.socket.connect();
  }

  /** Ends the connection for good. */
  close() {
    this.#closed = true;
    clearTimeout(this.#openTimer);
    clearTimeout(this.#probeTimer);
    globalThis.removeEventListener?.("online", this.onLine);
    globalThis.removeEventListener?.("offline", this.onLine);
    // Not lost: the server need not wait for a return.
    this.socket.disconnect(undefined, 1000);
  }

  get #polls() {
    return this.socket.transport === LongPoll;
  }

  #onOpen() {
    clearTimeout(this.#openTimer);
    this.#openedAt = Date.now();
    this.#failures = 0;
    this.#opened = true;
    if (this.#polls) this.#scheduleProbe();
    this.#set("open");
  }

  #onClose() {
    const lived = this.#openedAt ? Date.now() - this.#openedAt : 0;
    this.#openedAt = 0;
    if (lived >= LIFE_MIN_MS) this.#webSocketFailures = 0;
    else if (!this.#polls) this.#onWebSocketFailure(1);
    this.#onDown();
  }

  #onDown() {
    if (this.#closed || this.socket.isConnected()) return;
    if (globalThis.navigator?.onLine === false) this.#set("offline");
    else this.#set(this.#opened ? "reconnecting" : "connecting");
  }

  // A browser hides the reason of a refused WebSocket, so the page asks over HTTP after the first failure, and later.
  async #onFailure() {
    this.#onDown();
    this.#failures += 1;
    if (this.#failures % 4 !== 1) return;
    const good = await this.isTokenGood();
    if (!good && !this.#closed) this.dispatchEvent(new Event("refused"));
  }

  // Some proxies neither refuse a WebSocket nor let it through.
  #watchOpening(delay = 0) {
    clearTimeout(this.#openTimer);
    this.#openTimer = setTimeout(() => {
      if (globalThis.document?.hidden || this.socket.isConnected()) return;
      this.#onWebSocketFailure(FAILURES_MAX);
    }, delay + OPEN_MAX_MS);
  }

  // WebSockets are to blame only while the server answers otherwise: one that restarts refuses all.
  async #onWebSocketFailure(weight) {
    const isUp = await this.isServerUp();
    if (this.#closed || this.#polls) return;
    this.#webSocketFailures = isUp ? this.#webSocketFailures + weight : 0;
    const works = this.#openedAt > 0 && weight === FAILURES_MAX;
    if (this.#webSocketFailures >= FAILURES_MAX && !works) this.#switchTo(LongPoll);
  }

  #switchTo(transport) {
    this.#webSocketFailures = 0;
    this.#openedAt = 0;
    this.socket.replaceTransport(transport);
    this.socket.connect();
  }

  #scheduleProbe() {
    clearTimeout(this.#probeTimer);
    if (!globalThis.WebSocket) return;
    const wait = PROBES_MS[Math.min(this.#probes, PROBES_MS.length - 1)];
    this.#probeTimer = setTimeout(() => this.#probe(), wait);
  }

  // Goes back to WebSockets once one opens and stays open: the reason for polling may be over.
  #probe() {
    this.#probes += 1;
    const token = btoa(this.token()).replace(/=/g, "");
    const probe = new globalThis.WebSocket(this.socket.endPointURL(), ["phoenix", `base64url.bearer.phx.${token}`]);
    let timer = null;
    const end = (works) => {
      clearTimeout(timer);
      probe.onopen = null;
      probe.onclose = null;
      probe.close();
      if (this.#closed || !this.#polls) return;
      if (works) this.#switchTo(globalThis.WebSocket);
      else this.#scheduleProbe();
    };
    timer = setTimeout(() => end(false), OPEN_MAX_MS);
    probe.onopen = () => {
      clearTimeout(timer);
      timer = setTimeout(() => end(true), LIFE_MIN_MS);
    };
    probe.onclose = () => end(false);
  }

  #set(state) {
    if (this.#closed || state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
