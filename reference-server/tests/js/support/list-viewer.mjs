// The naive viewer of a naive list: it tells a client of its windows as core/docs/list-frames.md says a server does.

import { checksum, isSearch } from "../../../web/headcount/client.mjs";
import { keyOf, parse } from "./list-model.mjs";

const WINDOWS_MAX = 8;
const SEARCHES_MAX = 2;
/** Searches are shown anew at every so many ticks. */
const SEARCH_TICKS = 4;

/** The viewer of one connection. */
export class NaiveViewer {
  #list;
  /**
   * The windows by the names that the client was last told: `{name, version, start, epoch, mark, former, merged}`.
   * `former` are names that it had, `merged` those of windows that became one with it.
   */
  #held = [];
  #ticks = 0;

  constructor(list) {
    this.#list = list;
  }

  get names() {
    return this.#held.map(({ name }) => name);
  }

  #bundle(frames, bases = []) {
    const { epoch, name: list, groups, memberCount: members } = this.#list;
    const windows = this.#held.map(({ name: window, version }) => ({ window, version }));
    const version = this.#list.next();
    const counts = { version, rows: this.#list.all().length, members, groups };
    return { list, format: 2, epoch, version, frames, bases, windows, counts };
  }

  /** Returns what changed since the last tick, `null` if nothing did and it is not time for a reminder. */
  tick(isReminder) {
    this.#list.settle();
    this.#ticks += 1;
    const isDue = ({ name }) => !isSearch(name) || this.#ticks % SEARCH_TICKS === 0;
    const due = this.#held.filter(isDue).map((window) => this.#asked(window.name, window));
    const frames = this.#tell(due, "tick");
    const bases = [];
    for (const window of this.#held.filter(isDue)) {
      const { start } = this.#list.shown(window.name);
      if (start === window.start) continue;
      window.start = start;
      bases.push({ window: window.name, base_index: start });
    }
    return frames.length > 0 || bases.length > 0 || isReminder ? this.#bundle(frames, bases) : null;
  }

  /** Returns the answer to a request, `null` for a refusal. */
  answer({ verb, window, from, windows, held }) {
    this.#list.settle();
    if (verb === "open" || verb === "search") return this.#open(window);
    if (verb === "move") return this.#move(from, window);
    if (verb === "resync") return this.#resync(windows);
    if (verb === "resume") return this.#resume(held);
    this.#close(window);
    return null;
  }

  /** Leaves for another list, with these windows there. */
  switch(list, names) {
    this.#list = list;
    this.#held = [];
    list.settle();
    for (const name of names) this.#hold(name);
    return this.#bundle(this.#tell(this.#held.map((window) => this.#asked(window.name, window)), "answer"));
  }

  /** A window of which the client knows nothing. */
  #hold(name) {
    for (const { former, merged } of this.#held) {
      former.delete(name);
      merged.delete(name);
    }
    const window = { name, version: null, former: new Set(), merged: new Set(), mark: this.#list.mark };
    this.#held.push(window);
    return window;
  }

  #asked(asked, window) {
    return { asked, window, to: this.#list.follow(window.name, window.mark) };
  }

  #named(name) {
    return this.#held.find((window) => window.name === name);
  }

  #find(name) {
    return this.#named(name) ?? this.#held.find(({ former }) => former.has(name));
  }

  #findMerged(name) {
    return this.#find(name) ?? this.#held.find(({ merged }) => merged.has(name));
  }

  #hasRoom(name, instead = null) {
    const others = this.#held.filter((window) => window !== instead);
    const searches = others.filter((other) => isSearch(other.name));
    return others.length < WINDOWS_MAX && (!isSearch(name) || searches.length < SEARCHES_MAX);
  }

  #open(name) {
    if (this.#named(name)) return this.#resync([name]);
    if (!this.#hasRoom(name) || !this.#list.has(name)) return null;
    return this.#bundle(this.#tell([this.#asked(name, this.#hold(name))], "answer"));
  }

  #move(from, name) {
    const replaced = this.#find(from);
    if (!replaced) return null;
    if (this.#named(name)) {
      const { frames } = this.#resync([name]);
      const gone = this.#find(from);
      if (gone && gone !== this.#findMerged(name)) this.#drop(gone);
      return this.#bundle(frames);
    }
    if (!this.#hasRoom(name, replaced) || !this.#list.has(name)) return null;
    this.#drop(replaced);
    return this.#bundle(this.#tell([this.#asked(name, this.#hold(name))], "answer"));
  }

  #close(name) {
    const window = this.#find(name);
    if (window) this.#drop(window);
  }

  #drop(window) {
    this.#held = this.#held.filter((other) => other !== window);
  }

  #resync(names) {
    const windows = this.#findAll(names);
    if (windows.includes(undefined)) return null;
    const asked = windows.map((window, at) => this.#asked(names[at], window));
    // A window that left a name which one of these gets: else the client took two for one.
    for (const { to } of asked) {
      const leaver = this.#named(to);
      if (!leaver || asked.some(({ window }) => window === leaver)) continue;
      const more = this.#asked(leaver.name, leaver);
      if (more.to !== leaver.name) asked.push(more);
    }
    return this.#bundle(this.#tell(asked, "answer"));
  }

  /**
   * Returns the windows that these names mean. A bundle that was lost may have given a name to another window: if that
   * one is asked for by a name which it had before, the name means the one that left it.
   */
  #findAll(names) {
    const left = new Set(names.filter((name) => !this.#named(name)));
    for (const name of left) {
      for (const window of this.#held) {
        if (window.former.has(name) && names.includes(window.name)) left.add(window.name);
      }
    }
    const leaver = (name) => this.#held.find((window) => window.name !== name && window.former.has(name));
    return names.map((name) => (left.has(name) ? leaver(name) : undefined) ?? this.#findMerged(name));
  }

  #resume(held) {
    const { node, number } = this.#list.epoch;
    const asked = held.map(({ window: name, epoch, version }) => {
      const isOfEpoch = epoch.node === node && epoch.number === number;
      const past = isOfEpoch ? this.#list.past(name, version) : null;
      const window = this.#hold(name);
      if (past !== null) Object.assign(window, { version, mark: past.mark, epoch: number });
      const { to } = this.#asked(name, window);
      return { asked: name, window, to: this.#list.has(to) ? to : this.#list.first(to) };
    });
    return this.#bundle(this.#tell(asked, "resume"));
  }

  /**
   * Returns the frames by which a client gets windows under the names that they have by now: for a tick, of those that
   * changed; for an answer, of all; for that to a client that was away, of all, a DELTA where its rows are known.
   */
  #tell(asked, occasion) {
    const frames = [];
    const { number } = this.#list.epoch;
    for (const { window, to, asked: name, isRing } of inOrder(asked)) {
      const isKnown = window.version !== null && window.epoch === number;
      const isShown = isKnown && name === to && this.#list.version(to) === window.version;
      if (occasion === "tick" && isShown && !isRing) continue;
      const isBigger = occasion === "resume" && window.version % 7 === 0;
      const isWhole = occasion === "answer" || isRing || isBigger || !isKnown || isSearch(name);
      const past = isWhole ? null : this.#list.past(window.name, window.version);
      const frame = this.#frame(to, past, window.version);
      frames.push({ window: name, ...frame, ...(name === to ? {} : { renamed: to }) });
      for (const former of [name, window.name]) if (former !== to) window.former.add(former);
      const more = { name: to, version: frame.new_version, start: frame.base_index, epoch: number };
      Object.assign(window, { ...more, mark: this.#list.mark });
      this.#mergeInto(window);
    }
    return frames;
  }

  /** Lets a window go that has become one with another. */
  #mergeInto(window) {
    const other = this.#held.find((one) => one !== window && one.name === window.name);
    if (!other) return;
    this.#drop(window);
    for (const name of [...window.former, ...window.merged]) if (name !== other.name) other.merged.add(name);
    const { version, start, epoch, mark } = window;
    Object.assign(other, { version, start, epoch, mark });
  }

  #frame(name, past, base) {
    const { rows, start, matches } = this.#list.shown(name);
    const frame = { new_version: this.#list.version(name), base_index: start, checksum32: checksum(rows) };
    if (matches !== null) frame.matches = matches;
    if (past === null) return { ...frame, kind: "sync", base_version: 0, rows: structuredClone(rows) };
    return { ...frame, kind: "delta", base_version: base, ...difference(past.rows, rows) };
  }
}

/**
 * Puts windows that leave a name before those which get it. Those whose names go in a ring keep them: each is the name
 * of a row again.
 */
function inOrder(asked) {
  const left = [...asked];
  const ordered = [];
  while (left.length > 0) {
    const isTaken = ({ asked: own, to }) => own !== to && left.some((one) => one.asked === to && one.to !== to);
    const at = left.findIndex((one) => !isTaken(one));
    if (at >= 0) ordered.push(...left.splice(at, 1));
    else for (const one of left) Object.assign(one, ringOf(one, left) ? { to: one.asked, isRing: true } : {});
  }
  return ordered;
}

function ringOf(one, all) {
  let next = one;
  for (let steps = 0; steps < all.length; steps += 1) {
    next = all.find(({ asked }) => asked === next.to);
    if (!next || next === one) return next === one;
  }
  return false;
}

/** Returns the steps from some rows to others: what they have in common at both ends stays. */
function difference(old, rows) {
  const isSame = (row, other) => keyOf(row) === keyOf(other);
  const shorter = Math.min(old.length, rows.length);
  let start = 0;
  while (start < shorter && isSame(old[start], rows[start])) start += 1;
  let end = 0;
  while (end < shorter - start && isSame(old.at(-1 - end), rows.at(-1 - end))) end += 1;
  const deletes = [];
  for (let at = old.length - end - 1; at >= start; at -= 1) deletes.push(at);
  const gone = new Map(old.slice(start, old.length - end).map((row) => [keyOf(row), row]));
  const inserts = rows.slice(start, rows.length - end).map((row, at) => insert(row, start + at, gone.get(keyOf(row))));
  const updates = [];
  for (const [at, row] of rows.entries()) {
    if (at >= start && at < rows.length - end) continue;
    const before = at < start ? old[at] : old[at - rows.length + old.length];
    const isChanged = row.id === undefined ? row.count !== before.count : row !== before;
    if (isChanged) updates.push({ index: at, ...change(before, row) });
  }
  return { deletes, inserts, updates };
}

function insert(row, index, was) {
  if (!was || row.id === undefined) return { index, row: structuredClone(row) };
  return { index, move: row.id, ...(was === row ? {} : change(was, row)) };
}

function change(was, { count, revision, body }) {
  if (count !== undefined) return { count };
  const fields = Object.keys({ ...was.body, ...body }).filter((field) => was.body[field] !== body[field]);
  return { revision, patch: Object.fromEntries(fields.map((field) => [field, body[field] ?? null])) };
}
