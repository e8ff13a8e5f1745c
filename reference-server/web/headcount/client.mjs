// Client of a member list: applies bundles, holds windows, notices gaps.
//
// A dependency-free ES module without I/O or timers. Shape of the bundles and the rules this file follows:
// core/docs/list-frames.md. Use:
//
//     const client = new MemberListClient();
//     client.open("c:0");                              // and ask the server: member_list_open {window: "c:0"}
//     for (const windows of client.apply(bundle)) {    // every bundle, pushed or answered, in order of arrival
//       push("member_list_resync", {windows});         // its answer is a bundle too
//     }
//     const request = client.switch(["c:0"]);          // and ask the server for another list
//     client.apply(answer, request);                   // only this answer takes the client there
//     client.window("c:0").rows;                       // [{group, count} | {id, revision, attrs?, body?}, …]
//     client.views();                                  // [{name, start, end, at(index)}, …] by absolute index
//     client.counts;                                   // {rows, members, groups: [{group, count, …}, …]} or null

/** The most rows that a window may span, and steps of a kind that a frame may take. */
const WINDOW_ROWS_MAX = 500;
/** The most windows of one viewer. */
const WINDOWS_MAX = 8;
/** The most frames of one bundle. */
const FRAMES_MAX = 64;
/** The most groups of a list. */
const GROUPS_MAX = 4096;
/** How deep objects and arrays in a body may lie in one another. */
const BODY_DEPTH_MAX = 128;
const DEEP = `nested more than ${BODY_DEPTH_MAX} deep`;

/** Holds the windows of one list as its server describes them. */
export class MemberListClient {
  /** The list of the last bundle. */
  #list = null;
  /** True from the first switch on: another list is entered by an answer only. */
  #hasSwitched = false;
  /** The number of the last request, and of the first one of this connection and list. */
  #requests = 0;
  #first = 0;
  /** What takes the client to a list: "first", any bundle; "any", any answer; a number, that answer; null, nothing. */
  #entrance = "first";
  /** True if the server was asked for all windows because of a bundle of another node or list. An open clears it. */
  #hasAsked = false;
  #format = null;
  #node = "";
  #epoch = 0;
  #version = 0;
  #windows = new Map();
  /** Names closed here that the server still had when it last sent its names. */
  #closing = new Set();
  #counts = null;
  #countsWait = false;

  /** Totals and the full group table, or null before the first bundle. */
  get counts() {
    return this.#counts;
  }

  /** The frame format of the last bundle, 1 or 2, or null before the first one. Windows of format 2 can be resumed. */
  get format() {
    return this.#format;
  }

  /**
   * Notes that the server is asked for a window. No effect on a window that is held. `request` is the number of a
   * search whose answer has come, and told this name: pass that answer to `apply` next. No effect if a switch or
   * another connection came after it.
   */
  open(name, request = null) {
    if (this.#windows.has(name) || (request !== null && request < this.#first)) return;
    this.#closing.delete(name);
    const empty = { rows: [], epoch: { node: "", number: 0 }, version: 0, baseIndex: 0, matches: null, waiting: true };
    // A bundle may have overtaken the answer.
    const since = request === null ? this.#version : 0;
    this.#windows.set(name, { ...empty, since, replaces: null });
    // It was not among those that were asked for.
    this.#hasAsked = false;
  }

  /** Notes any request to the server. Returns its number, to be passed to `apply` with the answer. */
  request() {
    this.#requests += 1;
    return this.#requests;
  }

  /** Notes that the server is asked for a window in place of `from`, whose rows stay until those of `name` arrive. */
  move(from, name) {
    if (from === name) return;
    this.open(name);
    this.#windows.get(name).replaces = this.#windows.get(from) ?? null;
  }

  /** Notes that a window is closed. Frames under way are ignored. */
  close(name) {
    if (this.#windows.delete(name)) this.#closing.add(name);
  }

  /**
   * Notes that the server is asked to switch to another list, with these windows there. The windows of the old list
   * are gone; its bundles that are still under way are ignored, answers too. Only the answer to the request whose
   * number is returned takes the client to the other list: if it does not come in time, switch again.
   */
  switch(names) {
    this.#windows.clear();
    this.#closing.clear();
    this.#hasSwitched = true;
    this.#hasAsked = false;
    for (const name of names) this.open(name);
    this.#first = this.request();
    this.#entrance = this.#first;
    return this.#first;
  }

  /**
   * Notes that a connection begins. Returns the number of its first request, and the windows to resume by it:
   * `{request, held: [{window, epoch: {node, number}, version}, …]}`. The rows stay; bundles of the former connection,
   * answers too, are not taken any more. A window that another one was to replace is not resumed: its rows stay until
   * those of the other arrive.
   */
  reconnect() {
    const isSwitching = typeof this.#entrance === "number";
    this.#first = this.request();
    this.#entrance = isSwitching ? this.#first : "any";
    this.#hasAsked = false;
    this.#closing.clear();
    this.#counts = null;
    this.#countsWait = false;
    const replaced = new Set([...this.#windows.values()].map(({ replaces }) => replaces));
    const kept = [...this.#windows].filter(([, window]) => !replaced.has(window));
    const held = kept.map(([window, { epoch, version }]) => ({ window, epoch, version }));
    for (const window of this.#windows.values()) Object.assign(window, { waiting: true, since: this.#version });
    return { request: this.#first, held };
  }

  /** Whether the answer that takes the client to its list has not come yet. Until then it takes nothing else. */
  get isEntering() {
    return this.#entrance !== null && this.#entrance !== "first";
  }

  /** Notes a request: `member_list_open {window}`, `member_list_move {from, window}`, `…_close {window}`. */
  expect(verb, { from, window }) {
    if (verb.endsWith("open")) this.open(window);
    else if (verb.endsWith("move")) this.move(from, window);
    else if (verb.endsWith("close")) this.close(window);
  }

  /** Returns the names of the windows held. */
  get names() {
    return [...this.#windows.keys()];
  }

  /**
   * Returns a window by name, or null: `{rows, version, baseIndex, matches, waiting}`. Old rows stay until a SYNC
   * arrives. `matches` is the number of members that match on all pages in the window of a search, else null.
   */
  window(name) {
    const held = this.#windows.get(name);
    if (!held) return null;
    const { rows, version, baseIndex, matches, waiting } = held;
    return { rows, version, baseIndex, matches, waiting };
  }

  /** Returns the filled windows by absolute index, no searches: rows `[start, end)`, `at(index)`. */
  views() {
    const filled = [...this.#windows].filter(([name, held]) => held.version > 0 && !isSearch(name));
    return filled.map(([name, { rows, baseIndex: start }]) => ({
      name,
      start,
      end: start + rows.length,
      at: (index) => rows[index - start],
    }));
  }

  /**
   * Applies a bundle. `request` is the number of the request that it answers, or null if the server sent it by itself
   * or the caller does not know. Returns the `resync` requests to send: one array of window names each, empty for the
   * counts alone. Throws a `MalformedBundleError`, and changes nothing, if the bundle is not of the shape of the
   * protocol. O(rows of the windows in the bundle).
   */
  apply(bundle, request = null) {
    checkBundle(bundle);
    const asks = { windows: new Set(), counts: false };
    const epoch = typeof bundle.epoch === "number" ? { node: "", number: bundle.epoch } : bundle.epoch;
    if (!this.#admits(bundle, epoch, request, asks)) return requests(asks);
    if (epoch.number < this.#epoch || !this.#enterEpoch(bundle, epoch, asks)) return requests(asks);
    this.#list = bundle.list;
    this.#format = bundle.format ?? 1;
    this.#entrance = null;
    this.#hasAsked = false;
    const newest = bundle.version > this.#version;
    this.#version = Math.max(this.#version, bundle.version);
    for (const frame of bundle.frames) this.#applyFrame(frame, bundle.version, request !== null, asks);
    for (const { window, base_index: baseIndex } of bundle.bases ?? []) {
      const held = this.#windows.get(window);
      if (!held || held.waiting || bundle.version <= held.since) continue;
      Object.assign(held, { baseIndex, since: bundle.version });
    }
    if (bundle.counts) this.#applyCounts(bundle.counts, asks);
    if (newest) this.#checkWindows(bundle.windows ?? [], asks);
    return requests(asks);
  }

  /**
   * Returns whether the bundle is one to take. An answer may take the client to another node or list; a bundle that
   * another one sent by itself makes it ask for its windows, once.
   */
  #admits(bundle, epoch, request, asks) {
    const isElsewhere = epoch.node !== this.#node || (this.#hasSwitched && bundle.list !== this.#list);
    const awaited = this.#entrance;
    if (request === null) {
      if (this.isEntering) return false;
      if (awaited === "first") this.#node = epoch.node;
      else if (isElsewhere) {
        if (!this.#hasAsked) for (const name of this.names) asks.windows.add(name);
        this.#hasAsked = true;
        return false;
      }
      return true;
    }
    if (request < this.#first || (typeof awaited === "number" && request !== awaited)) return false;
    if (awaited !== null || isElsewhere) this.#enterList(bundle, epoch, typeof awaited === "number", asks);
    return true;
  }

  /** Goes to the node and the list of an answer. Windows that showed other rows and are not in it are asked for. */
  #enterList(bundle, epoch, isSwitch, asks) {
    this.#entrance = null;
    const isSame = epoch.node === this.#node && epoch.number === this.#epoch && bundle.list === this.#list;
    if (isSame && !isSwitch) return;
    this.#enter(epoch);
    const synced = syncedNames(bundle);
    for (const [name, held] of this.#windows) {
      if ((isSwitch || !held.waiting) && !synced.has(name)) asks.windows.add(name);
      Object.assign(held, { waiting: true, since: 0 });
    }
  }

  /** Begins an epoch, in which nothing is known yet. */
  #enter({ node, number }) {
    this.#node = node;
    this.#epoch = number;
    this.#version = 0;
    this.#counts = null;
    this.#countsWait = false;
  }

  /** Returns whether the bundle is of this client's epoch, now or from now on. */
  #enterEpoch(bundle, epoch, asks) {
    if (epoch.number === this.#epoch) return true;
    const synced = syncedNames(bundle);
    const enters = this.names.some((name) => synced.has(name));
    for (const [name, held] of this.#windows) {
      if (!held.waiting && !(enters && synced.has(name))) asks.windows.add(name);
      // Until then a SYNC of the old epoch may be late.
      Object.assign(held, { waiting: true, since: enters ? 0 : this.#version });
    }
    if (enters) this.#enter(epoch);
    return enters;
  }

  #applyFrame(frame, version, isAnswer, asks) {
    const held = this.#windows.get(frame.window);
    if (!held) return;
    const sync = frame.kind === "sync";
    const isOfEpoch = held.epoch.node === this.#node && held.epoch.number === this.#epoch;
    const isResumed = isAnswer && version > held.since && isOfEpoch;
    if (sync ? version <= held.since : (held.waiting && !isResumed) || frame.base_version < held.version) return;
    if (!sync && frame.base_version > held.version) return this.#wait(frame.window, held, asks);
    const rows = checked(sync ? frame.rows : applyDelta(held.rows, frame), frame.checksum32);
    if (!rows) return this.#wait(frame.window, held, asks);
    const { replaces } = held;
    Object.assign(held, {
      rows,
      epoch: { node: this.#node, number: this.#epoch },
      version: frame.new_version,
      baseIndex: frame.base_index,
      matches: frame.matches ?? null,
      since: version,
      waiting: false,
      replaces: null,
    });
    if (replaces !== null) this.#closeReplaced(replaces);
    if (frame.renamed !== undefined) this.#rename(frame.window, frame.renamed);
  }

  /** Closes a window that another one replaced, under the name it has by now; another may have taken its former one. */
  #closeReplaced(replaced) {
    const [name] = [...this.#windows].find(([, held]) => held === replaced) ?? [];
    if (name !== undefined) this.close(name);
  }

  #wait(name, held, asks) {
    Object.assign(held, { waiting: true, since: this.#version });
    asks.windows.add(name);
  }

  /**
   * `windows` are the server's: a window under another name missed its rename, one of another version missed a frame.
   * When all are right and the server has one more, two became one only here, because the rename of one of them was
   * lost.
   */
  #checkWindows(windows, asks) {
    const known = new Map(windows.map((said) => (isText(said) ? [said, null] : [said.window, said.version])));
    for (const name of this.#closing) if (!known.has(name)) this.#closing.delete(name);
    const replaced = new Set([...this.#windows.values()].map(({ replaces }) => replaces));
    for (const [name, held] of this.#windows) {
      const isRight = known.has(name) ? [null, held.version].includes(known.get(name)) : replaced.has(held);
      if (!held.waiting && !isRight) this.#wait(name, held, asks);
    }
    if ([...this.#windows.values()].some(({ waiting }) => waiting)) return;
    for (const name of known.keys()) {
      if (this.#windows.has(name) || this.#closing.has(name)) continue;
      this.open(name);
      asks.windows.add(name);
    }
  }

  #rename(old, name) {
    const held = this.#windows.get(old);
    this.#windows.delete(old);
    const other = this.#windows.get(name);
    if (other?.since >= held.since) return;
    if (other?.replaces) this.#closeReplaced(other.replaces);
    this.#windows.set(name, held);
  }

  #applyCounts(counts, asks) {
    if (counts.version <= (this.#counts?.version ?? 0)) return;
    if (counts.groups) {
      this.#counts = counts;
      this.#countsWait = false;
      return;
    }
    if (this.#countsWait) return;
    const next = counts.base_version === this.#counts?.version ? changedCounts(this.#counts, counts) : null;
    if (next) {
      this.#counts = next;
    } else {
      this.#countsWait = true;
      asks.counts = true;
    }
  }
}

/** Returns the rows after a DELTA, without changing `rows`; null if the frame does not fit them. O(rows). */
export function applyDelta(rows, { deletes, inserts, updates }) {
  const kept = [...rows];
  const scratch = new Map();
  let limit = rows.length;
  for (const index of deletes) {
    if (!isIndex(index, 0, limit)) return null;
    limit = index;
    if (rows[index].id !== undefined) scratch.set(rows[index].id, rows[index]);
    kept[index] = null;
  }
  const left = kept.filter((row) => row !== null);
  const total = left.length + inserts.length;
  const next = [];
  const fixed = new Set();
  let taken = 0;
  for (const insert of inserts) {
    if (!isIndex(insert.index, next.length, total)) return null;
    while (next.length < insert.index && taken < left.length) next.push(left[taken++]);
    const row = insert.row ?? changed(scratch.get(insert.move), insert);
    if (next.length !== insert.index || !row) return null;
    fixed.add(insert.index);
    next.push(row);
  }
  next.push(...left.slice(taken));
  let from = 0;
  for (const update of updates) {
    const { index } = update;
    if (!isIndex(index, from, next.length) || fixed.has(index)) return null;
    from = index + 1;
    next[index] = changed(next[index], update);
    if (!next[index]) return null;
  }
  return next;
}

/** Returns whether a name is that of the window of a search, whose rows have no place in the list. */
export function isSearch(name) {
  return isText(name) && /^[qr]:/.test(name);
}

/** Returns the CRC-32 (IEEE) of the UTF-8 form of a text, as a number from 0 to 2^32 - 1. */
export function crc32(text) {
  let crc = 0xffffffff;
  for (const byte of new TextEncoder().encode(text)) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Returns the checksum of the rows of a window. */
export function checksum(rows) {
  return crc32(rows.map((row) => `${rowKey(row)}|${row.id === undefined ? row.count : row.revision}\n`).join(""));
}

/** Returns the key of a row in its window. */
function rowKey(row) {
  return row.id === undefined ? `g:${row.group}` : `m:${row.id}`;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function isIndex(value, from, end) {
  return Number.isInteger(value) && value >= from && value < end;
}

/** Returns the names of the windows of which a bundle has all rows. */
function syncedNames(bundle) {
  return new Set(bundle.frames.filter((frame) => frame.kind === "sync").map((frame) => frame.window));
}

function requests({ windows, counts }) {
  return windows.size > 0 || counts ? [[...windows]] : [];
}

/** Returns the rows if they match the checksum, else null. */
function checked(rows, expected) {
  if (!rows || rows.length > WINDOW_ROWS_MAX) return null;
  const keys = new Set(rows.map(rowKey));
  return keys.size === rows.length && checksum(rows) === expected ? rows : null;
}

/** Returns the row after a change `{count}` or `{revision, attrs?, patch?, body?}`; null if it does not fit the row. */
function changed(row, change) {
  if (!row) return null;
  if (row.id === undefined) return change.count === undefined ? null : { ...row, count: change.count };
  if (change.count !== undefined) return null;
  const next = { ...row };
  for (const field of ["revision", "attrs", "body"]) if (change[field] !== undefined) next[field] = change[field];
  if (change.patch) next.body = patched(row.body, change.patch);
  if (next.attrs === 0) delete next.attrs;
  return next;
}

function patched(body, patch) {
  const fields = { ...body, ...patch };
  for (const [field, value] of Object.entries(patch)) if (value === null) delete fields[field];
  return fields;
}

function changedCounts(held, { version, rows, members, changed: groups }) {
  const counts = new Map(groups.map(({ group, count }) => [group, count]));
  const known = held.groups.filter(({ group }) => counts.has(group)).length;
  if (known !== counts.size) return null;
  const table = held.groups.map((entry) => ({ ...entry, count: counts.get(entry.group) ?? entry.count }));
  return { ...held, version, rows, members, groups: table };
}

/** The error for a bundle that is not of the shape of the protocol. `path` names the value: `frames[0].rows[2]`. */
export class MalformedBundleError extends Error {
  name = "MalformedBundleError";

  constructor(path, what) {
    super(`${path}: ${what}`);
    this.path = path;
  }
}

function demand(holds, path, what) {
  if (!holds) throw new MalformedBundleError(path, what);
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isSmall = (value) => isCount(value) && value < 2 ** 32;
const isText = (value) => typeof value === "string";
const isFlag = (value) => typeof value === "boolean";
const isFlat = (value) => !isDeeper(value, BODY_DEPTH_MAX);

function checkCounts(value, path, fields) {
  for (const field of fields) demand(isCount(value[field]), `${path}.${field}`, "not a number from 0 to 2^53 - 1");
}

function checkSmall(value, path, fields) {
  for (const field of fields) demand(isSmall(value[field]), `${path}.${field}`, "not a number from 0 to 2^32 - 1");
}

/** Returns whether objects and arrays lie in one another more than `depth` times. O(value). */
function isDeeper(value, depth) {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 || Object.values(value).some((inner) => isDeeper(inner, depth - 1));
}

/** Checks an optional field. */
function checkOptional(value, path, field, is, what) {
  demand(value[field] === undefined || is(value[field]), `${path}.${field}`, what);
}

function checkArray(value, path, max, check) {
  demand(Array.isArray(value), path, "not an array");
  demand(value.length <= max, path, `${value.length} values, at most ${max}`);
  for (const [at, item] of value.entries()) check(item, `${path}[${at}]`);
}

/** Checks the fields of a bundle that this client reads, before it changes anything. O(bundle). */
function checkBundle(bundle) {
  demand(isObject(bundle), "bundle", "not an object");
  demand(isText(bundle.list), "bundle.list", "not a name");
  checkCounts(bundle, "bundle", ["version"]);
  const isTwo = bundle.format === 2;
  demand(isTwo || [undefined, 1].includes(bundle.format), "format", "neither 1 nor 2");
  if (isTwo) {
    demand(isObject(bundle.epoch) && isText(bundle.epoch.node), "epoch", "not of a node");
    checkCounts(bundle.epoch, "epoch", ["number"]);
  } else checkCounts(bundle, "bundle", ["epoch"]);
  const { bases = [], windows = [] } = bundle;
  checkArray(bundle.frames, "frames", FRAMES_MAX, checkFrame);
  if (bundle.counts !== undefined && bundle.counts !== null) checkTable(bundle.counts);
  checkArray(bases, "bases", FRAMES_MAX, (base, path) => {
    demand(isObject(base) && isText(base.window), path, "not a window");
    checkCounts(base, path, ["base_index"]);
  });
  checkArray(windows, "windows", WINDOWS_MAX, (said, path) => {
    if (!isTwo) return demand(isText(said), path, "not a name");
    demand(isObject(said) && isText(said.window), path, "not a window");
    checkCounts(said, path, ["version"]);
  });
}

function checkFrame(frame, path) {
  demand(isObject(frame) && isText(frame.window), path, "not a frame");
  checkCounts(frame, path, ["base_version", "new_version", "base_index"]);
  checkSmall(frame, path, ["checksum32"]);
  checkOptional(frame, path, "renamed", isText, "not a name");
  checkOptional(frame, path, "matches", isCount, "not a number from 0 to 2^53 - 1");
  if (frame.kind === "sync") return checkArray(frame.rows, `${path}.rows`, WINDOW_ROWS_MAX, checkRow);
  demand(frame.kind === "delta", `${path}.kind`, "neither sync nor delta");
  const checkIndex = (index, at) => demand(isSmall(index), at, "not an index");
  checkArray(frame.deletes, `${path}.deletes`, WINDOW_ROWS_MAX, checkIndex);
  checkArray(frame.inserts, `${path}.inserts`, WINDOW_ROWS_MAX, checkInsert);
  checkArray(frame.updates, `${path}.updates`, WINDOW_ROWS_MAX, checkUpdate);
}

function checkRow(row, path) {
  const isRow = isObject(row) && (row.id === undefined) !== (row.group === undefined);
  demand(isRow && isText(row.id ?? row.group), path, "neither a header nor a member");
  if (row.id === undefined) return checkSmall(row, path, ["count"]);
  checkSmall(row, path, ["revision"]);
  checkOptional(row, path, "attrs", isSmall, "not attribute bits");
  checkOptional(row, path, "body", isFlat, DEEP);
}

function checkInsert(insert, path) {
  demand(isObject(insert), path, "not an insert");
  checkSmall(insert, path, ["index"]);
  const isRow = insert.row !== undefined;
  demand(isRow ? insert.move === undefined : isText(insert.move), path, "neither a row nor a move");
  if (isRow) return checkRow(insert.row, `${path}.row`);
  const isChanged = ["revision", "attrs", "patch", "body"].some((field) => insert[field] !== undefined);
  if (isChanged) checkChange(insert, path);
}

function checkUpdate(update, path) {
  demand(isObject(update), path, "not an update");
  checkSmall(update, path, ["index"]);
  if (update.count === undefined) return checkChange(update, path);
  demand(update.revision === undefined, path, "both a count and a revision");
  checkSmall(update, path, ["count"]);
}

/** Checks the change of a member. */
function checkChange(change, path) {
  checkSmall(change, path, ["revision"]);
  checkOptional(change, path, "attrs", isSmall, "not attribute bits");
  checkOptional(change, path, "patch", isObject, "not an object");
  demand(change.patch === undefined || change.body === undefined, path, "both a patch and a body");
  for (const field of ["patch", "body"]) checkOptional(change, path, field, isFlat, DEEP);
}

function checkTable(counts) {
  demand(isObject(counts), "counts", "not an object");
  checkCounts(counts, "counts", ["version", "rows", "members"]);
  checkOptional(counts, "counts", "headers", isFlag, "neither true nor false");
  const isFull = counts.groups !== undefined;
  if (isFull) demand(counts.changed === undefined && counts.base_version === undefined, "counts", "full and changes");
  else checkCounts(counts, "counts", ["base_version"]);
  const table = isFull ? "groups" : "changed";
  checkArray(counts[table], `counts.${table}`, GROUPS_MAX, (group, at) => {
    demand(isObject(group) && isText(group.group), at, "not a group");
    checkSmall(group, at, ["count"]);
    for (const flag of ["hidden", "collapsed"]) checkOptional(group, at, flag, isFlag, "neither true nor false");
  });
}
