// Reading something again when it may have changed, without doing so at every change.

/** Runs `read` a moment after it was asked for, once for all that ask until then. */
export class Refresh {
  #timer = null;

  constructor(read, pauseMs = 300) {
    this.read = read;
    this.pauseMs = pauseMs;
  }

  soon() {
    this.#timer ??= setTimeout(async () => {
      this.#timer = null;
      try {
        await this.read();
      } catch {
        // What is known so far stays, and the next reason to read tries it again.
      }
    }, this.pauseMs);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}
