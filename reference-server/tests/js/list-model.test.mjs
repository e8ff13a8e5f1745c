// The JavaScript client against a naive model: whatever is lost, repeated or late, it shows what some version of the
// list was, and in the end what the list is. SEED=<number> repeats one run.

import assert from "node:assert/strict";
import { test } from "node:test";
import { MemberListClient } from "../../web/headcount/client.mjs";
import { NaiveList, NaiveViewer, randomOf } from "./support/list-model.mjs";

const RUNS = 400;
const TIME_MAX_MS = 8000;
const STEPS = 250;
/** After so many steps without an answer a client asks again. */
const PATIENCE = 12;
const CHUNKS = 5;

class Run {
  constructor(seed) {
    this.random = randomOf(seed);
    this.nodes = 0;
    this.lists = new Map();
    this.client = new MemberListClient();
    this.line = [];
    this.asked = new Map();
    /** The newest version that was shown of a window of a node. */
    this.newest = new Map();
    this.isGood = false;
    this.step = 0;
    this.counts = { resumed: 0, changedNode: 0, lost: 0 };
    this.#startNode();
    this.connection = 0;
    this.viewer = new NaiveViewer(this.list);
  }

  #startNode() {
    // The clocks of nodes differ, so their epochs are in no order.
    this.list = new NaiveList(this.random, `node-${this.nodes}`, 1000 + Math.floor(this.random() * 1000));
    this.lists.set(this.list.epoch.node, this.list);
    this.nodes += 1;
  }

  chance(part) {
    return this.random() < part;
  }

  /** Puts a bundle on the line: it may be lost, come twice, or late. */
  send(bundle, request = null) {
    if (bundle === null) return;
    const copies = this.isGood ? 1 : this.chance(0.12) ? 0 : this.chance(0.1) ? 2 : 1;
    if (copies === 0) this.counts.lost += 1;
    for (let copy = 0; copy < copies; copy += 1) {
      const late = this.isGood || this.chance(0.7) ? 0 : Math.floor(this.random() * 6);
      this.line.push({ at: this.step + late, bundle: structuredClone(bundle), request });
    }
  }

  /** Makes a request. Requests are in order and arrive, as on a socket; their answers may not. */
  ask(request, number = this.client.request()) {
    if (request.verb !== "close") this.asked.set(number, this.step);
    const bundle = this.viewer.answer(request);
    if (bundle !== null) return this.send(bundle, number);
    this.asked.delete(number);
    if (request.verb !== "close") for (const name of request.windows ?? [request.window]) this.client.close(name);
  }

  deliver() {
    const due = this.line.filter(({ at }) => at <= this.step);
    this.line = this.line.filter(({ at }) => at > this.step);
    for (const { bundle, request } of due) {
      const asks = this.client.apply(bundle, request);
      if (request !== null) this.asked.delete(request);
      for (const windows of asks) this.ask({ verb: "resync", windows });
      this.check();
    }
  }

  /** Every window shows what it was at its version, one that does not wait at a node that this connection reaches. */
  check() {
    for (const name of this.client.names) {
      const { rows, version, waiting } = this.client.window(name);
      if (version === 0) continue;
      const lists = waiting ? [...this.lists.values()] : [this.list];
      const shown = lists.some((list) => isEqual(list.at(name, version), rows));
      assert.ok(shown, `${name} at version ${version} was never these rows: ${JSON.stringify(rows)}`);
      const key = `${this.list.epoch.node} ${name}`;
      if (!waiting) assert.ok(version >= (this.newest.get(key) ?? 0), `${name} goes back to version ${version}`);
      if (!waiting) this.newest.set(key, version);
    }
  }

  /** The connection is cut, perhaps because the node ends; what it had sent may still come. */
  reconnect() {
    if (this.chance(0.3)) {
      this.#startNode();
      this.counts.changedNode += 1;
    }
    for (let change = 0; change < 5; change += 1) this.list.change();
    if (this.chance(0.5)) this.line = [];
    this.viewer = new NaiveViewer(this.list);
    this.asked.clear();
    this.resume();
  }

  resume() {
    const { request, held } = this.client.reconnect();
    this.counts.resumed += held.length;
    this.ask({ verb: "resume", held }, request);
  }

  act() {
    const names = this.client.names;
    const name = `c:${Math.floor(this.random() * CHUNKS)}`;
    const kind = this.random();
    if (kind < 0.03) return this.reconnect();
    if (this.client.isEntering) return;
    if (kind < 0.1 && names.length < 4 && !names.includes(name)) {
      this.client.open(name);
      this.ask({ verb: "open", window: name });
    } else if (kind < 0.13 && names.length > 1) {
      this.client.close(names[0]);
      this.ask({ verb: "close", window: names[0] });
    } else if (kind < 0.17 && names.length > 0 && !names.includes(name)) {
      this.client.move(names[0], name);
      this.ask({ verb: "move", from: names[0], window: name });
    }
  }

  /** Asks again for what was not answered in time. */
  retry() {
    const late = [...this.asked].filter(([, at]) => this.step - at > PATIENCE);
    if (late.length === 0) return;
    this.asked.clear();
    if (this.client.isEntering) return this.resume();
    const waiting = this.client.names.filter((name) => this.client.window(name).waiting);
    // One by one: of a window that the server does not know, it says so, and the client closes it.
    for (const window of waiting) this.ask({ verb: "resync", windows: [window] });
  }

  go() {
    this.client.open("c:0");
    this.ask({ verb: "open", window: "c:0" });
    for (; this.step < STEPS; this.step += 1) {
      if (this.step === STEPS - 60) this.isGood = true;
      const changes = this.isGood ? 0 : Math.floor(this.random() * 3);
      for (let change = 0; change < changes; change += 1) this.list.change();
      if (!this.isGood) this.act();
      this.send(this.viewer.tick(this.step % 10 === 0));
      this.deliver();
      this.retry();
    }
    for (const name of this.client.names) {
      const { rows, waiting } = this.client.window(name);
      assert.equal(waiting, false, `${name} waits for ever`);
      assert.deepEqual(rows, this.list.rows(name), name);
    }
    assert.deepEqual(this.client.names.sort(), this.viewer.names.sort());
    assert.equal(this.client.counts.members, this.list.members.length);
  }
}

function isEqual(rows, others) {
  return rows !== null && JSON.stringify(rows) === JSON.stringify(others);
}

test("a client over a bad network shows versions of the list, and in the end the list", () => {
  const end = Date.now() + TIME_MAX_MS;
  const first = process.env.SEED === undefined ? 1 : Number(process.env.SEED);
  const last = process.env.SEED === undefined ? RUNS : first;
  const counts = { resumed: 0, changedNode: 0, lost: 0 };
  for (let seed = first; seed <= last && Date.now() < end; seed += 1) {
    const run = new Run(seed);
    try {
      run.go();
    } catch (error) {
      throw new Error(`SEED=${seed} at step ${run.step}: ${error.message}`, { cause: error });
    }
    for (const name of Object.keys(counts)) counts[name] += run.counts[name];
  }
  const least = process.env.SEED === undefined ? 50 : 0;
  for (const [name, count] of Object.entries(counts)) assert.ok(count >= least, `${name}: ${count}`);
});
