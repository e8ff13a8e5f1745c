// The session: the token and the user, stored across reloads. A guest lives as long as the tab.

import { randomId } from "./message-store.mjs";

const KEY = "headcount.session";
const DEVICE_KEY = "headcount.device";
// A tab that has changed the password has its new token by then.
const RENEWAL_MS = 1500;

/** The session of this tab: `{ token, user }` or nothing. Other tabs store theirs in the same places. */
export class Session {
  /** Where this session is stored. */
  #storage;

  constructor() {
    const tab = sessionStorageOrNull();
    this.#storage = read(tab) ? tab : localStorageOrNull();
    this.value = read(this.#storage);
  }

  get token() {
    return this.value?.token ?? null;
  }

  get user() {
    return this.value?.user ?? null;
  }

  /** Stores a session: an account in this browser, a guest in this tab only. */
  keep(token, user, { guest }) {
    const storage = guest ? sessionStorageOrNull() : localStorageOrNull();
    if (storage !== this.#storage) this.forget();
    this.#storage = storage;
    this.value = { token, user };
    write(storage, this.value);
  }

  /** Ends this session. One that another tab has stored since stays. */
  forget() {
    if (this.#isStored) this.#storage.removeItem(KEY);
    this.value = null;
  }

  /**
   * Takes up the token that another tab has got for the same user, with a new password; that tab may still wait for it.
   * Returns whether the session has another token than this one, which the server refuses.
   */
  async renew(refused) {
    this.#takeStored();
    if (this.token === refused && this.#isStored && !this.user.guest) {
      await storedElsewhere();
      this.#takeStored();
    }
    return this.token !== refused;
  }

  get #isStored() {
    return this.value !== null && read(this.#storage)?.token === this.token;
  }

  #takeStored() {
    const stored = read(this.#storage);
    if (stored && stored.user.id === this.user?.id) this.value = stored;
  }
}

// Waits until another tab stores a session, or removes it.
function storedElsewhere() {
  return new Promise((done) => {
    const end = (event) => {
      if (event && event.key !== KEY) return;
      clearTimeout(timer);
      globalThis.removeEventListener("storage", end);
      done();
    };
    const timer = setTimeout(end, RENEWAL_MS);
    globalThis.addEventListener("storage", end);
  });
}

/** Storage can be forbidden (a third-party frame): then a session lasts as long as the page. */
export function localStorageOrNull() {
  try {
    return globalThis.localStorage ?? null;
  } catch {
    return null;
  }
}

function sessionStorageOrNull() {
  try {
    return globalThis.sessionStorage ?? null;
  } catch {
    return null;
  }
}

function read(storage) {
  try {
    const value = JSON.parse(storage?.getItem(KEY) ?? "null");
    return value?.token && value?.user ? value : null;
  } catch {
    return null;
  }
}

function write(storage, value) {
  try {
    storage?.setItem(KEY, JSON.stringify(value));
  } catch {
    // Without storage only a reload loses the session.
  }
}

/** Returns the name of this tab, by which the server knows it again after a reload. */
export function deviceName() {
  const storage = sessionStorageOrNull();
  const name = storage?.getItem(DEVICE_KEY) ?? randomId();
  try {
    storage?.setItem(DEVICE_KEY, name);
  } catch {
    // Without storage a reload is a new device.
  }
  return name;
}
