// One socket for the whole page: its state in words, reconnecting with jitter, and noticing a refused token.

import { Socket } from "./vendor/phoenix.mjs";

const BACKOFF_MS = [50, 150, 300, 600, 1000, 2000, 5000];

/** Returns the delay before attempt `tries` (from 1), spread by half: a restart must not bring all back at once. */
export function reconnectDelayMs(tries, random = Math.random) {
  const base = BACKOFF_MS[Math.min(tries, BACKOFF_MS.length) - 1] ?? 5000;
  return Math.round(base * (0.75 + random() * 0.5));
}

/** A storage that stores nothing: Phoenix stores only that it fell back to long polling, and can find out again. */
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
  #opened = false;
  #closed = false;

  constructor({ url, token, isTokenGood }) {
    super();
    this.state = "connecting";
    this.isTokenGood = isTokenGood;
    this.socket = new Socket(url, {
      authToken: token,
      timeout: 10_000,
      // For proxies that block WebSockets.
      longPollFallbackMs: 4000,
      // Otherwise Phoenix uses the real one, which a third-party frame may not access.
      sessionStorage: new NoStorage(),
      heartbeatIntervalMs: 25_000,
      reconnectAfterMs: (tries) => reconnectDelayMs(tries),
      rejoinAfterMs: (tries) => [500, 1000, 2000, 5000][tries - 1] ?? 10_000,
    });
    this.socket.onOpen(() => this.#onOpen());
    this.socket.onClose(() => this.#onDown());
    this.socket.onError(() => this.#onFailure());
    this.onLine = () => this.#onDown();
    globalThis.addEventListener?.("online", this.onLine);
    globalThis.addEventListener?.("offline", this.onLine);
  }

  connect() {
    this.socket.connect();
  }

  /** Ends the connection for good. */
  close() {
    this.#closed = true;
    globalThis.removeEventListener?.("online", this.onLine);
    globalThis.removeEventListener?.("offline", this.onLine);
    this.socket.disconnect();
  }

  #onOpen() {
    this.#failures = 0;
    this.#opened = true;
    this.#set("open");
  }

  #onDown() {
    if (this.#closed || this.socket.isConnected()) return;
    if (globalThis.navigator?.onLine === false) this.#set("offline");
    else this.#set(this.#opened ? "reconnecting" : "connecting");
  }

  // A browser hides the reason of a refused WebSocket, so after two failures the page asks over HTTP.
  async #onFailure() {
    this.#onDown();
    this.#failures += 1;
    if (this.#failures % 4 !== 2) return;
    const good = await this.isTokenGood();
    if (!good && !this.#closed) this.dispatchEvent(new Event("refused"));
  }

  #set(state) {
    if (this.#closed || state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}
