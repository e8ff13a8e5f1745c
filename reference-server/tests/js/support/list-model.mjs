// A naive member list of frame format 2. Its windows are cut from an array of all rows; it keeps all that it showed.

/** Rows of a chunk, and of a page of a search: a client need not know. */
const CHUNK = 6;
const PAGE = 4;
const KEYS = ["", "a", "ab", "ab", "abc", "b", "mö", "möb", "田"];
/** The member that never leaves nor moves: a list has always rows. */
const FIXED = 0;

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

/** Returns the key of a row: a member's id, or a header's group. */
export const keyOf = (row) => (row.id === undefined ? `g:${row.group}` : `m:${row.id}`);
const isEqualRow = (row, other) =>
  row === other || (row.id === undefined && row.group === other.group && row.count === other.count);

/** Returns the parts of a window's name. Ids and groups may have colons. */
export function parse(name) {
  const [kind, ...parts] = name.split(":");
  if (kind === "c") return { kind, from: Number(parts[0]) * CHUNK, rows: CHUNK };
  if (kind === "q" || kind === "r") {
    const prefix = new TextDecoder().decode(Uint8Array.from(parts[0].match(/../g) ?? [], (hex) => Number(`0x${hex}`)));
    return { kind, prefix, from: Number(parts[1]) * PAGE, rows: PAGE, group: parts.slice(2).join(":") };
  }
  const [before, after] = parts.slice(-2).map(Number);
  return { kind, anchor: `${kind === "g" ? "g" : "m"}:${parts.slice(0, -2).join(":")}`, before, after };
}

/** Returns the name of the window around a row, with the letter it has around a member. */
function around(row, { kind, before, after }) {
  const letter = row.id === undefined ? "g" : kind === "g" ? "a" : kind;
  return `${letter}:${row.id ?? row.group}:${before}:${after}`;
}

/** A list of one node. It keeps the rows of each window at every version that a client may hold. */
export class NaiveList {
  #random;
  #nextId = 0;
  #past = new Map();
  #version = 0;
  #members = new Map();
  /** Revisions of those who left and may return. */
  #gone = new Map();
  #groups = ["mods", "on:line", "off"].map((name) => ({ name, hidden: false, collapsed: false }));
  /** What happened since the last `settle`, and the rows then. */
  #moved = new Set();
  #renamed = new Map();
  #settled = [];
  /** All rows, until something changes. */
  #rows = null;
  /** The names that each `settle` put in place of others. */
  #replaced = [];

  constructor(random, name, node, number) {
    this.#random = random;
    this.name = name;
    this.epoch = { node, number };
    for (let at = 0; at < 20; at += 1) this.#insert();
    this.settle();
  }

  #pick(values) {
    return values[Math.floor(this.#random() * values.length)];
  }

  #place() {
    return { group: this.#pick(this.#groups), key: this.#pick(KEYS) };
  }

  #insert() {
    let number = this.#nextId;
    let revision = 0;
    if (this.#gone.size > 0 && this.#random() < 0.4) {
      [number, revision] = this.#pick([...this.#gone]);
      this.#gone.delete(number);
    } else this.#nextId += 1;
    const place = number === FIXED ? { group: this.#groups[0], key: "b" } : this.#place();
    const row = { id: `${this.epoch.node}:${number}`, revision, body: { name: place.key } };
    this.#members.set(number, { row, ...place });
    this.#moved.add(`m:${row.id}`);
  }

  /** Lets a member come, leave, move or change, or does something to a group. */
  change() {
    this.#rows = null;
    const kind = this.#random();
    const number = this.#pick([...this.#members.keys()].slice(1));
    const member = this.#members.get(number);
    if (kind < 0.25 || this.#members.size < 5) return this.#insert();
    if (kind < 0.45) {
      this.#members.delete(number);
      this.#gone.set(number, member.row.revision + 1);
    } else if (kind < 0.65) {
      Object.assign(member, this.#place());
      this.#moved.add(`m:${member.row.id}`);
      if (this.#random() < 0.5) this.#revise(member, { name: member.key });
    } else if (kind < 0.95) {
      this.#revise(member, { status: this.#pick(["idle", "dnd", undefined]) });
    } else this.#changeGroup(this.#pick(this.#groups.slice(1)));
  }

  #revise(member, fields) {
    const { id, revision, body } = member.row;
    const next = Object.entries({ ...body, ...fields }).filter(([, value]) => value !== undefined);
    member.row = { id, revision: revision + 1, body: Object.fromEntries(next) };
  }

  #changeGroup(group) {
    const kind = this.#pick(["hidden", "collapsed", "name"]);
    if (kind !== "name") group[kind] = this.#random() < 0.3;
    else if (![...this.#renamed.values()].includes(group.name)) {
      const name = `g:${Math.floor(this.#random() * 1e9)}`;
      this.#renamed.set(group.name, name);
      group.name = name;
    }
  }

  /** Begins an epoch: viewers get every window whole. */
  beginEpoch() {
    this.epoch = { ...this.epoch, number: this.epoch.number + 1 };
  }

  next() {
    this.#version += 1;
    return this.#version;
  }

  /** The number of times that windows could get other names. */
  get mark() {
    return this.#replaced.length;
  }

  get groups() {
    const count = (group) => [...this.#members.values()].filter((member) => member.group === group).length;
    const flag = (group, name) => (group[name] ? { [name]: true } : {});
    return this.#groups.map((group) => {
      const flags = { ...flag(group, "hidden"), ...flag(group, "collapsed") };
      return { group: group.name, count: count(group), ...flags };
    });
  }

  get memberCount() {
    return this.#members.size;
  }

  /** Returns the rows of the members of a group, in order. */
  #rowsOf(group) {
    const members = [...this.#members.values()].filter((member) => member.group === group);
    const byKey = (a, b) => (a.key === b.key ? (a.row.id < b.row.id ? -1 : 1) : a.key < b.key ? -1 : 1);
    return members.sort(byKey);
  }

  /** Returns all rows of the list. */
  all() {
    this.#rows ??= this.#groups.flatMap((group) => {
      const members = this.#rowsOf(group);
      if (group.hidden || members.length === 0) return [];
      const header = { group: group.name, count: members.length };
      return [header, ...(group.collapsed ? [] : members.map(({ row }) => row))];
    });
    return this.#rows;
  }

  #found({ kind, prefix, group: name }) {
    let matches = 0;
    const rows = this.#groups.flatMap((group) => {
      if (group.hidden || (kind === "r" && group.name !== name)) return [];
      const found = this.#rowsOf(group).filter(({ key }) => key.startsWith(prefix));
      matches += found.length;
      if (found.length === 0) return [];
      return [...(kind === "q" ? [{ group: group.name, count: found.length }] : []), ...found.map(({ row }) => row)];
    });
    return { rows, matches };
  }

  /** Returns what a window shows now: `{rows, start, matches}`. */
  shown(name) {
    const spec = parse(name);
    if (spec.prefix !== undefined) {
      const { rows, matches } = this.#found(spec);
      return { rows: rows.slice(spec.from, spec.from + spec.rows), start: spec.from, matches };
    }
    const all = this.all();
    let { from, rows } = spec;
    if (spec.anchor !== undefined) {
      const at = all.findIndex((row) => keyOf(row) === spec.anchor);
      if (at < 0) throw new Error(`${name}: the anchor is no row`);
      from = Math.max(0, at - spec.before);
      rows = at + spec.after + 1 - from;
    }
    return { rows: all.slice(from, from + rows), start: from, matches: null };
  }

  /** Returns whether there is such a window: its anchor is a row. */
  has(name) {
    const { anchor } = parse(name);
    return anchor === undefined || this.all().some((row) => keyOf(row) === anchor);
  }

  /** Returns the name of the window around the first row, in place of one whose anchor is unknown. */
  first(name) {
    return around(this.all()[0], parse(name));
  }

  /** Returns some name of a window around a row. */
  someAnchored() {
    const [before, after] = this.#pick([[0, 0], [1, 3], [4, 2]]);
    return around(this.#pick(this.all()), { kind: this.#pick(["a", "a", "f"]), before, after });
  }

  /** Returns some name of the window of a search. */
  someSearch() {
    const hex = Buffer.from(this.#pick(["a", "ab", "m", "mö", "zz"])).toString("hex");
    const page = Math.floor(this.#random() * 2);
    return this.#random() < 0.5 ? `q:${hex}:${page}` : `r:${hex}:${page}:${this.#pick(this.#groups).name}`;
  }

  /** Gives windows other names whose anchors or groups are not what they were. */
  settle() {
    if (this.#settled === this.all()) return;
    const before = this.#settled.map((row) => this.#underNewName(row));
    const now = this.all();
    const names = new Map();
    for (const name of this.#past.keys()) {
      const next = this.#successor(name, before, now);
      if (next !== name) names.set(name, next);
    }
    this.#replaced.push(names);
    this.#settled = now;
    this.#moved.clear();
    this.#renamed.clear();
  }

  #underNewName(row) {
    return row.id === undefined ? { ...row, group: this.#renamed.get(row.group) ?? row.group } : row;
  }

  #successor(name, before, now) {
    const spec = parse(name);
    if (spec.kind === "r" && this.#renamed.has(spec.group)) {
      return name.slice(0, -spec.group.length) + this.#renamed.get(spec.group);
    }
    if (spec.anchor === undefined) return name;
    const renamed = spec.kind === "g" ? this.#renamed.get(spec.anchor.slice(2)) : undefined;
    if (renamed !== undefined) spec.anchor = `g:${renamed}`;
    const there = new Map(now.map((row) => [keyOf(row), row]));
    const at = before.findIndex((row) => keyOf(row) === spec.anchor);
    // It had been replaced already.
    if (at < 0) return name;
    const from = Math.max(0, at - spec.before);
    const stays = (row) => there.has(keyOf(row)) && !this.#moved.has(keyOf(row));
    if (there.has(spec.anchor) && (spec.kind !== "a" || stays(before[at]))) return around(there.get(spec.anchor), spec);
    const nearest = [...before.slice(at + 1, at + 1 + spec.after), ...before.slice(from, at).reverse()];
    return around(nearest.find(stays) ?? now[Math.min(from, now.length - 1)], spec);
  }

  /** Returns the name that a window has by now which had this one after so many times. */
  follow(name, mark) {
    return this.#replaced.slice(mark).reduce((known, names) => names.get(known) ?? known, name);
  }

  /** Returns the version of the rows that a window shows now, a new one if they are others than before. */
  version(name) {
    const versions = this.#past.get(name) ?? this.#past.set(name, []).get(name);
    const shown = this.shown(name);
    const last = versions.at(-1);
    if (!last || !isSame(last, shown)) versions.push({ version: this.next(), ...shown });
    versions.at(-1).mark = this.mark;
    return versions.at(-1).version;
  }

  /** Returns what a window showed at a version, `{rows, mark}`, or null. */
  past(name, version) {
    return this.#past.get(name)?.find((past) => past.version === version) ?? null;
  }
}

function isSame({ rows, matches }, next) {
  const { length } = next.rows;
  return matches === next.matches && rows.length === length && rows.every((row, at) => isEqualRow(row, next.rows[at]));
}
