// The session: the token and the user, stored across reloads. A guest lives as long as the tab.

import { randomId } from "./message-store.mjs";

const KEY = "headcount.session";
const DEVICE_KEY = "headcount.device";

/** Returns the session of this tab: `{ token, user }` or nothing. */
export class Session {
  constructor() {
    this.value = read(sessionStorageOrNull()) ?? read(localStorageOrNull());
  }

  get token() {
    return this.value?.token ?? null;
  }

  get user() {
    return this.value?.user ?? null;
  }

  /** Stores a session: an account in this browser, a guest in this tab only. */
  keep(token, user, { guest }) {
    this.forget();
    this.value = { token, user };
    write(guest ? sessionStorageOrNull() : localStorageOrNull(), this.value);
  }

  forget() {
    this.value = null;
    sessionStorageOrNull()?.removeItem(KEY);
    localStorageOrNull()?.removeItem(KEY);
  }
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
