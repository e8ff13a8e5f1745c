// The JavaScript client against a naive model: whatever is lost, repeated or late, it shows what some version of the
// list was, and in the end what the list is. SEED=<number> repeats one run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isSearch, MemberListClient } from "../../web/headcount/client.mjs";
import { NaiveList, randomOf } from "./support/list-model.mjs";
import { NaiveViewer } from "./support/list-viewer.mjs";

const RUNS = 400;
const TIME_MAX_MS = 8000;
const STEPS = 250;
/** Steps at the end in which nothing is lost, and those in which nothing changes. */
const GOOD_STEPS = 90;
const STILL_STEPS = 60;
/** After so many steps without an answer a client asks again. */
const PATIENCE = 12;
const CHUNKS = 5;
const WINDOWS = 5;
const LISTS = ["room", "staff"];
const NOTHING = {
  resumed: 0, changedNode: 0, lost: 0, switched: 0, late: 0, renamed: 0, became: 0, found: 0, adopted: 0, epochs: 0,
};

class Run {
  constructor(seed) {
    this.random = randomOf(seed);
    this.nodes = 0;
    /** The lists of all nodes. */
    this.lists = [];
    this.client = new MemberListClient();
    this.line = [];
    this.asked = new Map();
    /** The newest version that was shown of a window of a list. */
    this.newest = new Map();
    this.isGood = false;
    this.isPlaced = false;
    this.step = 0;
    this.counts = { ...NOTHING };
    this.#startNode();
    this.list = this.node[0];
    /** The number of the connection or switch, and the windows of a switch that was not answered yet. */
    this.stay = 0;
    this.entering = null;
    this.viewer = new NaiveViewer(this.list);
  }

  #startNode() {
    // The clocks of nodes differ, so their epochs are in no order.
    const make = (name) => {
      const number = 1000 + Math.floor(this.random() * 1000);
      return new NaiveList(this.random, name, `node-${this.nodes}`, number);
    };
    this.node = LISTS.map(make);
    this.lists.push(...this.node);
    this.nodes += 1;
  }

  chance(part) {
    return this.random() < part;
  }

  /** Puts a bundle on the line: it may be lost, come twice, or late. */
  send(bundle, request = null, search = null) {
    if (bundle === null) return;
    const copies = this.isGood ? 1 : this.chance(0.12) ? 0 : this.chance(0.1) ? 2 : 1;
    if (copies === 0) this.counts.lost += 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const late = this.isGood || this.chance(0.7) ? 0 : Math.floor(this.random() * 6);
      const { stay } = this;
      this.line.push({ at: this.step + late, bundle: structuredClone(bundle), request, search, stay });
    }
  }

  /** Makes a request. Requests are in order and arrive, as on a socket; their answers may not. */
  ask(request, number = this.client.request()) {
    if (request.verb !== "close") this.asked.set(number, { at: this.step, request });
    const bundle = this.viewer.answer(request);
    if (bundle !== null) return this.send(bundle, number, request.verb === "search" ? request.window : null);
    this.asked.delete(number);
    if (request.verb === "search" || request.verb === "close") return;
    const windows = request.windows ?? [request.window];
    if (windows.length === 1) return this.client.close(windows[0]);
    // One of them is not open.
    for (const window of windows) this.ask({ verb: "resync", windows: [window] });
  }

  deliver() {
    const due = this.line.filter(({ at }) => at <= this.step);
    this.line = this.line.filter(({ at }) => at > this.step);
    for (const { bundle, request, search, stay } of due) {
      if (stay !== this.stay) this.counts.late += 1;
      // The answer names the window of a search; it may come twice.
      else if (search !== null && this.asked.has(request)) this.client.open(search, request);
      const before = this.client.names;
      const asks = this.client.apply(bundle, request);
      this.#count(bundle, before);
      if (request !== null) this.asked.delete(request);
      for (const windows of asks) this.ask({ verb: "resync", windows });
      this.check();
    }
  }

  #count({ frames }, before) {
    const { names } = this.client;
    const renamed = frames.filter((frame) => before.includes(frame.window) && !names.includes(frame.window));
    this.counts.renamed += renamed.length;
    if (names.length < before.length) this.counts.became += renamed.length;
    if (frames.some(({ matches }) => matches > 0)) this.counts.found += 1;
    if (renamed.length === 0 && names.some((name) => !before.includes(name))) this.counts.adopted += 1;
  }

  /** Every window shows what it was at its version, one that does not wait in the list of this connection. */
  check() {
    for (const name of this.client.names) {
      const { rows, version, waiting } = this.client.window(name);
      if (version === 0) continue;
      const lists = waiting ? this.lists : [this.list];
      const shown = lists.some((list) => isEqual(list.past(name, version)?.rows, rows));
      assert.ok(shown, `${name} at version ${version} was never these rows: ${JSON.stringify(rows)}`);
      const key = `${this.list.epoch.node} ${this.list.name} ${name}`;
      if (!waiting) assert.ok(version >= (this.newest.get(key) ?? 0), `${name} goes back to version ${version}`);
      if (!waiting) this.newest.set(key, version);
    }
  }

  /** The connection is cut, perhaps because the node ends; what it had sent may still come. */
  reconnect() {
    if (this.chance(0.3)) {
      this.#startNode();
      this.list = this.node.find(({ name }) => name === this.list.name);
      this.counts.changedNode += 1;
    }
    for (let change = 0; change < 5; change += 1) this.list.change();
    if (this.chance(0.5)) this.line = [];
    this.resume();
  }

  resume() {
    this.viewer = new NaiveViewer(this.list);
    this.asked.clear();
    this.stay += 1;
    const { request, held } = this.client.reconnect();
    this.counts.resumed += held.length;
    this.ask({ verb: "resume", held }, request);
  }

  /** Goes to a list of the same node. */
  switch(list, names) {
    this.list = list;
    this.asked.clear();
    this.stay += 1;
    this.counts.switched += 1;
    const request = this.client.switch(names);
    this.asked.set(request, { at: this.step, request: { verb: "switch" } });
    this.send(this.viewer.switch(list, names), request);
  }

  someName() {
    const chunk = `c:${Math.floor(this.random() * CHUNKS)}`;
    return this.chance(0.3) ? chunk : this.list.someAnchored();
  }

  act() {
    const { isSearching } = this;
    const names = this.client.names.filter((name) => !isSearching || !isSearch(name));
    const name = this.someName();
    const kind = this.random();
    if (kind < 0.02) return this.reconnect();
    if (kind < 0.04) {
      const list = this.node[Math.floor(this.random() * LISTS.length)];
      return this.switch(list, ["c:0", list.someAnchored()]);
    }
    if (this.client.isEntering) return;
    if (kind < 0.05) {
      this.list.beginEpoch();
      this.counts.epochs += 1;
    } else if (kind < 0.12 && names.length < WINDOWS && !names.includes(name)) {
      this.client.open(name);
      this.ask({ verb: "open", window: name });
    } else if (kind < 0.14 && names.length > 1) {
      this.client.close(names[0]);
      this.ask({ verb: "close", window: names[0] });
    } else if (kind < 0.18 && names.length > 0 && !names.includes(name)) {
      this.client.move(names[0], name);
      this.ask({ verb: "move", from: names[0], window: name });
    } else if (kind < 0.23 && !isSearching) this.search(names.filter(isSearch));
  }

  /** True until the answer to a search comes. Until then its client leaves all searches alone. */
  get isSearching() {
    return [...this.asked.values()].some(({ request }) => request.verb === "search");
  }

  /** Searches in place of one of two searches. */
  search(searches) {
    if (searches.length > 1) {
      this.client.close(searches[0]);
      this.ask({ verb: "close", window: searches[0] });
    }
    this.ask({ verb: "search", window: this.list.someSearch() });
  }

  /** Asks again for what was not answered in time. */
  retry() {
    const asked = [...this.asked.values()];
    if (!asked.some(({ at }) => this.step - at > PATIENCE)) return;
    this.asked.clear();
    if (this.client.isEntering) return this.resume();
    for (const { request } of asked) if (request.verb === "search") this.ask(request);
    const waiting = this.client.names.filter((name) => this.client.window(name).waiting);
    // One by one: of a window that the server does not know, it says so, and the client closes it.
    for (const window of waiting) this.ask({ verb: "resync", windows: [window] });
  }

  go() {
    this.client.open("c:0");
    this.ask({ verb: "open", window: "c:0" });
    for (; this.step < STEPS; this.step += 1) {
      if (this.step === STEPS - GOOD_STEPS) this.#getGood();
      const changes = this.step >= STEPS - STILL_STEPS ? 0 : Math.floor(this.random() * 3);
      for (let change = 0; change < changes; change += 1) this.list.change();
      if (!this.isGood) this.act();
      this.send(this.viewer.tick(this.step % 10 === 0));
      this.deliver();
      this.retry();
    }
    this.checkEnd();
  }

  /** Nothing is lost from now on. A place that was lost is not noticed, so that the client may come back first. */
  #getGood() {
    this.isGood = true;
    this.isPlaced = this.chance(0.5);
    if (this.isPlaced) this.reconnect();
  }

  checkEnd() {
    for (const name of this.client.names) {
      const { waiting, version, ...held } = this.client.window(name);
      assert.equal(waiting, false, `${name} waits for ever`);
      const { rows, start, matches } = this.list.shown(name);
      const baseIndex = this.isPlaced ? start : held.baseIndex;
      assert.deepEqual(held, { rows, baseIndex, matches }, name);
      assert.equal(version, this.list.version(name), name);
    }
    assert.deepEqual(this.client.names.sort(), this.viewer.names.sort());
    const { rows, members, groups } = this.client.counts;
    const expected = { rows: this.list.all().length, members: this.list.memberCount, groups: this.list.groups };
    assert.deepEqual({ rows, members, groups }, expected);
  }
}

function isEqual(rows, others) {
  return rows !== undefined && JSON.stringify(rows) === JSON.stringify(others);
}

test("a client over a bad network shows versions of the list, and in the end the list", () => {
  const end = Date.now() + TIME_MAX_MS;
  const first = process.env.SEED === undefined ? 1 : Number(process.env.SEED);
  const last = process.env.SEED === undefined ? RUNS : first;
  const counts = { ...NOTHING };
  for (let seed = first; seed <= last && Date.now() < end; seed += 1) {
    const run = new Run(seed);
    try {
      run.go();
    } catch (error) {
      throw new Error(`SEED=${seed} at step ${run.step}: ${error.message}`, { cause: error });
    }
    for (const name of Object.keys(counts)) counts[name] += run.counts[name];
  }
  const least = process.env.SEED === undefined ? 10 : 0;
  for (const [name, count] of Object.entries(counts)) assert.ok(count >= least, `${name}: ${count}`);
});
