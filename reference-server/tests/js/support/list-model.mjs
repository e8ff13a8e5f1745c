// A naive server of a member list in frame format 2, and a network that loses, repeats and reorders what it sends.

import { checksum } from "../../../web/headcount/client.mjs";

const CHUNK = 6;

/** Returns a generator of numbers from 0 to 1 (mulberry32), the same for the same seed. */
export function randomOf(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The list of one node. It keeps the rows of each window at every version that a client may hold. */
export class NaiveList {
  #random;
  #nextId = 0;
  #past = new Map();
  #version = 0;
  members = [];

  constructor(random, node, number) {
    this.#random = random;
    this.epoch = { node, number };
    for (let at = 0; at < 20; at += 1) this.#insert();
  }

  #insert() {
    const member = { id: `${this.epoch.node}-${this.#nextId}`, revision: 0, body: { name: "new" } };
    this.#nextId += 1;
    this.members.splice(Math.floor(this.#random() * (this.members.length + 1)), 0, member);
  }

  /** Lets a member come, leave, move or change. */
  change() {
    const kind = Math.floor(this.#random() * 4);
    const at = Math.floor(this.#random() * this.members.length);
    if (kind === 0 || this.members.length < 5) return this.#insert();
    if (kind === 1) return this.members.splice(at, 1);
    if (kind === 2) {
      const [member] = this.members.splice(at, 1);
      return this.members.splice(Math.floor(this.#random() * (this.members.length + 1)), 0, member);
    }
    const { id, revision } = this.members[at];
    this.members[at] = { id, revision: revision + 1, body: { name: `name ${this.#random()}` } };
  }

  next() {
    this.#version += 1;
    return this.#version;
  }

  /** Returns the rows that a window shows now. */
  rows(name) {
    const from = Number(name.slice(2)) * CHUNK;
    return this.members.slice(from, from + CHUNK);
  }

  /** Returns the version of the rows that a window shows now, a new one if they are others than before. */
  version(name) {
    const versions = this.#past.get(name) ?? this.#past.set(name, []).get(name);
    const rows = this.rows(name);
    const last = versions.at(-1);
    if (!last || !isSame(last.rows, rows)) versions.push({ version: this.next(), rows });
    return versions.at(-1).version;
  }

  /** Returns the rows that a window showed at a version, or null. */
  at(name, version) {
    return this.#past.get(name)?.find((past) => past.version === version)?.rows ?? null;
  }

  #frame(name, more) {
    const rows = this.rows(name);
    const frame = { window: name, new_version: this.version(name), base_index: Number(name.slice(2)) * CHUNK };
    return { ...frame, checksum32: checksum(rows), ...more };
  }

  sync(name) {
    return this.#frame(name, { kind: "sync", base_version: 0, rows: structuredClone(this.rows(name)) });
  }

  /** Returns the DELTA from a version of a window to what it shows now. */
  delta(name, from) {
    const steps = difference(this.at(name, from), this.rows(name));
    return this.#frame(name, { kind: "delta", base_version: from, ...steps });
  }
}

/** The viewer of one connection. */
export class NaiveViewer {
  #list;
  #held = new Map();

  constructor(list) {
    this.#list = list;
  }

  get names() {
    return [...this.#held.keys()];
  }

  #bundle(frames) {
    const { epoch } = this.#list;
    for (const { window, new_version: version } of frames) this.#held.set(window, version);
    const windows = [...this.#held].map(([window, version]) => ({ window, version }));
    const rows = this.#list.members.length;
    const version = this.#list.next();
    const counts = { version, rows, members: rows, headers: false, groups: [{ group: "all", count: rows }] };
    return { list: "room", format: 2, epoch, version, frames, windows, counts };
  }

  /** Returns what changed since the last tick, `null` if nothing did and it is not time for a reminder. */
  tick(isReminder) {
    const changed = [...this.#held].filter(([name, version]) => this.#list.version(name) !== version);
    const frames = changed.map(([name, version]) => this.#list.delta(name, version));
    return frames.length > 0 || isReminder ? this.#bundle(frames) : null;
  }

  /** Returns the answer to a request, `null` for a refusal. */
  answer({ verb, window, from, windows, held }) {
    if (verb === "open") return this.#bundle([this.#list.sync(window)]);
    if (verb === "close") return void this.#held.delete(window) ?? null;
    if (verb === "move") {
      if (!this.#held.delete(from)) return null;
      return this.#bundle([this.#list.sync(window)]);
    }
    if (verb === "resync") {
      if (windows.some((name) => !this.#held.has(name))) return null;
      return this.#bundle(windows.map((name) => this.#list.sync(name)));
    }
    const { node, number } = this.#list.epoch;
    const isKnown = ({ window: name, epoch, version }) =>
      epoch.node === node && epoch.number === number && this.#list.at(name, version) !== null;
    const frame = (one) => (isKnown(one) ? this.#list.delta(one.window, one.version) : this.#list.sync(one.window));
    return this.#bundle(held.map(frame));
  }
}

function isSame(rows, others) {
  return rows.length === others.length && rows.every((row, at) => row === others[at]);
}

/** Returns the steps from some rows to others: what they have in common at both ends stays. */
function difference(old, rows) {
  const ids = rows.map(({ id }) => id);
  let start = 0;
  while (start < old.length && start < rows.length && old[start].id === ids[start]) start += 1;
  let end = 0;
  const isLeft = () => end < old.length - start && end < rows.length - start;
  while (isLeft() && old.at(-1 - end).id === ids.at(-1 - end)) end += 1;
  const deletes = [];
  for (let at = old.length - end - 1; at >= start; at -= 1) deletes.push(at);
  const gone = new Map(old.slice(start, old.length - end).map((row) => [row.id, row]));
  const inserts = rows.slice(start, rows.length - end).map((row, at) => insert(row, start + at, gone.get(row.id)));
  const kept = [...rows.keys()].filter((at) => at < start || at >= rows.length - end);
  const before = (at) => (at < start ? old[at] : old[at - rows.length + old.length]);
  const updates = kept.filter((at) => rows[at] !== before(at)).map((at) => ({ index: at, ...change(rows[at]) }));
  return { deletes, inserts, updates };
}

function insert(row, index, was) {
  if (!was) return { index, row: structuredClone(row) };
  return { index, move: row.id, ...(was === row ? {} : change(row)) };
}

function change({ revision, body }) {
  return { revision, patch: { ...body } };
}
