// The JavaScript client on the vectors that all clients share (core/tests/golden/list-frames/, and -2/ for format 2).

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { applyDelta, checksum, crc32, MalformedBundleError, MemberListClient } from "../../web/headcount/client.mjs";

const FOLDER = new URL("../../../core/tests/golden/list-frames/", import.meta.url);
const files = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));

assert.ok(files.length >= 12, "the vectors are there");

for (const name of files) {
  const vector = JSON.parse(readFileSync(new URL(name, FOLDER), "utf8"));
  test(`${name}: ${vector.about}`, () => replay(vector));
}

for (const name of ["resume.json", "switch.json", "renamed-list.json"]) {
  const vector = JSON.parse(readFileSync(new URL(`../list-frames-2/${name}`, FOLDER), "utf8"));
  test(`format 2, ${name}: ${vector.about}`, () => {
    assert.equal(vector.server.format, 2);
    replay(vector);
  });
}

function replay({ steps, server }) {
  const client = new MemberListClient();
  const sent = [];
  let received = 0;
  for (const [at, step] of steps.entries()) {
    const request = ask(client, step, `step ${at}`);
    const isSearch = step.search !== undefined;
    if (step.bundle) sent.push({ bundle: step.bundle, request: server.format === 2 ? request : null, isSearch });
    if (step.receive === undefined) continue;
    const what = sent[step.receive] ?? { bundle: step.receive, request: null };
    // The answer names the window of a search.
    if (what.isSearch) client.open(what.bundle.frames[0].window);
    const asked = client.apply(structuredClone(what.bundle), what.request);
    assert.deepEqual(seen(client, asked), step.expect, `step ${at}`);
    received += 1;
  }
  assert.ok(received > 0);
}

/** Lets the client note what it asks the server in a step. Returns the number of the request, or null. */
function ask(client, step, where) {
  if (step.switch) return client.switch(step.switch[1]);
  if ("reconnect" in step) {
    const { request, held } = client.reconnect();
    assert.deepEqual(byWindow(held), byWindow(step.held), where);
    return request;
  }
  if (step.open) client.open(step.open);
  if (step.close) client.close(step.close);
  if (step.move) {
    client.close(step.move[0]);
    client.open(step.move[1]);
  }
  return step.open || step.move || step.search || step.resync ? client.request() : null;
}

const byWindow = (held) => Object.fromEntries(held.map((one) => [one.window, one]));

function seen(client, asked) {
  const windows = {};
  for (const name of client.names) {
    const { rows, version, baseIndex, matches, waiting } = client.window(name);
    const found = matches === null ? {} : { matches };
    windows[name] = { rows: rows.map(plain), version, base_index: baseIndex, waiting, ...found };
  }
  const held = client.counts;
  const counts = held && { version: held.version, rows: held.rows, members: held.members, groups: held.groups };
  const resync = asked.flat().sort();
  // Every answer contains counts, so they are requested alone only when nothing else is.
  return { windows, counts, resync, resync_counts: asked.length > 0 && resync.length === 0 };
}

function plain(row) {
  const { attrs, ...rest } = row;
  return attrs ? row : rest;
}

test("the checksum is zlib's", () => {
  assert.equal(crc32(""), 0);
  assert.equal(crc32("123456789"), 0xcbf43926);
  assert.equal(crc32("héllo \u{1f600}"), 0x8d272c32);
  const members = [["7", 1], ["9", 4], ["12", 1]].map(([id, revision]) => ({ id, revision }));
  const rows = [{ group: "online", count: 3 }, ...members];
  assert.equal(checksum(rows), 3411915118);
});

test("a delta does not change the rows it started from", () => {
  const rows = [{ id: "1", revision: 1, body: { name: "a" } }, { id: "2", revision: 1 }];
  const before = structuredClone(rows);
  const updates = [{ index: 0, revision: 2, patch: { name: "b", status: null } }];
  const next = applyDelta(rows, { deletes: [1], inserts: [{ index: 1, move: "2", revision: 2, attrs: 4 }], updates });
  assert.deepEqual(next, [{ id: "1", revision: 2, body: { name: "b" } }, { id: "2", revision: 2, attrs: 4 }]);
  assert.deepEqual(rows, before);
});

test("indexes that are no indexes are refused", () => {
  const rows = [{ id: "1", revision: 1 }];
  const none = { deletes: [], inserts: [], updates: [] };
  for (const bad of [-1, 1, 0.5, "x", null, Number.NaN, undefined]) {
    assert.equal(applyDelta(rows, { ...none, updates: [{ index: bad, revision: 2 }] }), null, `update ${bad}`);
    assert.equal(applyDelta(rows, { ...none, deletes: [bad] }), null, `delete ${bad}`);
  }
  for (const bad of [-1, 2, 0.5, "x", Number.NaN]) {
    const inserts = [{ index: bad, row: { id: "2", revision: 1 } }];
    assert.equal(applyDelta(rows, { ...none, inserts }), null, `insert ${bad}`);
  }
});

/** Returns a bundle with the SYNC of one window. */
function sync(window, version, rows, more = {}) {
  const frame = { window, base_version: 0, new_version: version, base_index: 0, kind: "sync", ...more };
  return { list: "r", epoch: 1, version, frames: [{ ...frame, checksum32: checksum(rows), rows }] };
}

test("a move shows the old window until the new one arrives", () => {
  const client = new MemberListClient();
  client.expect("member_list_open", { window: "c:0" });
  client.apply(sync("c:0", 1, [{ id: "1", revision: 1 }]));
  client.expect("member_list_move", { from: "c:0", window: "c:1" });
  assert.deepEqual(client.views().map(({ name }) => name), ["c:0"]);
  client.apply(sync("c:1", 2, [{ id: "2", revision: 1 }]));
  const views = client.views().map(({ name, start, end, at }) => [name, start, end, at(0).id]);
  assert.deepEqual(views, [["c:1", 0, 1, "2"]]);
  client.expect("member_list_close", { window: "c:1" });
  assert.deepEqual(client.names, []);
  assert.deepEqual(client.apply(sync("c:1", 3, [{ id: "2", revision: 1 }])), [], "a late frame of a closed window");
});

test("the late answer of a move leaves a window alone that has taken the name of the old one", () => {
  const client = new MemberListClient();
  const row = [{ id: "1", revision: 1 }];
  for (const [name, version] of [["a:1:0:0", 1], ["a:2:0:0", 2]]) {
    client.open(name);
    client.apply(sync(name, version, row));
  }
  client.move("a:1:0:0", "c:1");
  client.apply(sync("a:2:0:0", 3, row, { renamed: "a:1:0:0" }));
  // Nothing is renamed by a SYNC that is not waited for; a DELTA renames.
  const delta = { window: "a:2:0:0", base_version: 2, new_version: 4, base_index: 0, kind: "delta" };
  const steps = { deletes: [], inserts: [], updates: [], checksum32: checksum(row), renamed: "a:1:0:0" };
  client.apply({ list: "r", epoch: 1, version: 4, frames: [{ ...delta, ...steps }] });
  client.apply(sync("c:1", 5, [{ id: "9", revision: 1 }]));
  assert.deepEqual(client.names.sort(), ["a:1:0:0", "c:1"]);
  assert.deepEqual(client.window("a:1:0:0").rows, row);
});

const member = (id, revision) => ({ id, revision });

test("the window of a search says how many members match on all pages", () => {
  const client = new MemberListClient();
  client.open("q:61:2");
  client.apply(sync("q:61:2", 1, [member("1", 1), member("2", 1)], { matches: 700 }));
  assert.equal(client.window("q:61:2").matches, 700);
  client.open("c:0");
  client.apply(sync("c:0", 2, [member("1", 1)]));
  assert.equal(client.window("c:0").matches, null);
});

test("the answer to a search is taken that another bundle has overtaken", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply({ ...sync("c:0", 1, [member("1", 1)]), windows: ["c:0"] }, client.request());
  const request = client.request();
  client.apply({ ...sync("c:0", 3, [member("1", 2)]), windows: ["c:0"] });
  client.open("q:61:0", request);
  client.apply(sync("q:61:0", 2, [member("1", 1)], { matches: 1 }), request);
  const { rows, waiting } = client.window("q:61:0");
  assert.deepEqual([rows, waiting], [[member("1", 1)], false]);
  client.close("q:61:0");
  client.switch(["c:0"]);
  client.open("q:61:0", request);
  assert.equal(client.window("q:61:0"), null, "of another list");
});

test("a SYNC of the old epoch is late after a bundle of the new one", () => {
  const client = new MemberListClient();
  client.open("c:0");
  const late = sync("c:0", 3, [member("1", 1)]);
  client.apply({ ...sync("c:0", 4, [member("1", 2)]), windows: ["c:0"] });
  const next = { ...sync("c:1", 5, []), epoch: 2 };
  assert.deepEqual(client.apply(next), [["c:0"]]);
  client.apply(late);
  const { rows, waiting } = client.window("c:0");
  assert.deepEqual([rows, waiting], [[member("1", 2)], true]);
  client.apply({ ...sync("c:0", 1, [member("1", 3)]), epoch: 2 });
  assert.deepEqual(client.window("c:0").rows, [member("1", 3)], "the versions of the new one begin anew");
});

const of = (list, bundle) => ({ ...bundle, list });
const idsOf = (client, name) => client.window(name).rows.map(({ id }) => id);

test("after a switch only the answer to it is taken, and no late answer of the old list", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(of("everyone", sync("c:0", 9, [member("1", 1)])), client.request());
  const lateRequest = client.request();
  const late = of("everyone", sync("c:0", 10, [member("1", 2)]));
  const request = client.switch(["c:0", "c:1"]);
  assert.deepEqual([client.isEntering, idsOf(client, "c:0")], [true, []]);
  const isIgnored = () => {
    const before = JSON.stringify([client.window("c:0"), client.window("c:1")]);
    assert.deepEqual(client.apply(late, lateRequest), []);
    client.apply(late);
    return JSON.stringify([client.window("c:0"), client.window("c:1")]) === before;
  };
  assert.ok(isIgnored());
  const answer = { ...sync("c:0", 4, [member("2", 1)]), windows: ["c:0", "c:1"] };
  assert.deepEqual(client.apply(of("moderators", answer), request), [["c:1"]]);
  assert.deepEqual([client.isEntering, idsOf(client, "c:0")], [false, ["2"]]);
  assert.equal(client.window("c:1").waiting, true);
  assert.ok(isIgnored(), "after the switch as well");
  assert.deepEqual(client.apply(late), [], "it asked once");
});

/** Makes a bundle of format 2 of a node. */
const two = (node, bundle, versions) => {
  const windows = Object.entries(versions).map(([window, version]) => ({ window, version }));
  return { ...bundle, format: 2, epoch: { node, number: bundle.epoch }, windows };
};

test("a client that reconnects resumes its windows by a DELTA", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(two("a", sync("c:0", 3, [member("1", 1)]), { "c:0": 3 }), client.request());
  const { request, held } = client.reconnect();
  assert.deepEqual(held, [{ window: "c:0", epoch: { node: "a", number: 1 }, version: 3 }]);
  const rows = [member("1", 1), member("2", 1)];
  const inserts = [{ index: 1, row: rows[1] }];
  const delta = { kind: "delta", base_version: 3, new_version: 8, deletes: [], inserts, updates: [] };
  const resumed = sync("c:0", 9, rows);
  Object.assign(resumed.frames[0], delta);
  const answer = two("a", resumed, { "c:0": 8 });
  assert.deepEqual(client.apply(answer), [], "it is no push");
  assert.equal(client.window("c:0").waiting, true);
  assert.deepEqual(client.apply(answer, request), []);
  assert.deepEqual([client.window("c:0").waiting, idsOf(client, "c:0")], [false, ["1", "2"]]);
  assert.deepEqual(client.apply(answer, request), [], "twice is once");
  assert.deepEqual(idsOf(client, "c:0"), ["1", "2"]);
});

test("a window to resume takes no late SYNC of the former connection, also once another answer has come", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(two("a", sync("c:0", 1, [member("1", 1)]), { "c:0": 1 }), client.request());
  const late = two("a", sync("c:0", 2, [member("1", 2)]), { "c:0": 2 });
  client.apply(two("a", sync("c:0", 3, [member("1", 3)]), { "c:0": 3 }));
  const { request } = client.reconnect();
  client.open("c:1");
  client.apply(two("a", sync("c:1", 4, [member("2", 1)]), { "c:0": 3, "c:1": 4 }), client.request());
  assert.equal(client.isEntering, false);
  assert.deepEqual(client.apply(late), []);
  const { rows, waiting } = client.window("c:0");
  assert.deepEqual([rows, waiting], [[member("1", 3)], true]);
  client.apply(two("a", sync("c:0", 5, [member("1", 4)]), { "c:0": 5, "c:1": 4 }), request);
  assert.deepEqual([client.window("c:0").rows, client.window("c:0").waiting], [[member("1", 4)], false]);
});

test("another node is entered by an answer only", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(two("a", { ...sync("c:0", 3, [member("1", 1)]), epoch: 9 }, { "c:0": 3 }), client.request());
  const other = two("b", { ...sync("c:0", 2, [member("2", 1)]), epoch: 4 }, { "c:0": 2 });
  assert.deepEqual(client.apply(other), [["c:0"]]);
  assert.deepEqual(client.apply(other), [], "it asks once");
  assert.deepEqual(idsOf(client, "c:0"), ["1"]);
  assert.deepEqual(client.apply(other, client.request()), []);
  assert.deepEqual(idsOf(client, "c:0"), ["2"]);
});

test("a version that differs shows that the last frame was lost", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(two("a", sync("c:0", 3, [member("1", 1)]), { "c:0": 3 }));
  const reminder = { ...sync("c:0", 5, []), frames: [] };
  assert.deepEqual(client.apply(two("a", reminder, { "c:0": 3 })), []);
  assert.deepEqual(client.apply(two("a", { ...reminder, version: 6 }, { "c:0": 4 })), [["c:0"]]);
  assert.equal(client.window("c:0").waiting, true);
});

test("bundles that mix formats are refused", () => {
  const client = new MemberListClient();
  const good = two("a", sync("c:0", 3, []), { "c:0": 3 });
  const faults = {
    format: { ...good, format: 3 },
    epoch: { ...good, epoch: 1 },
    "epoch.number": { ...good, epoch: { node: "a", number: -1 } },
    "bundle.epoch": { ...good, format: undefined },
    "windows[0]": { ...good, windows: ["c:0"] },
    "windows[0].version": { ...good, windows: [{ window: "c:0" }] },
  };
  for (const [path, bundle] of Object.entries(faults)) {
    assert.throws(() => client.apply(bundle), { name: "MalformedBundleError", path }, path);
  }
  client.apply(good);
});

test("a malformed bundle is refused whole, with the place of its fault", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.open("c:1");
  client.apply(sync("c:0", 1, [{ id: "1", revision: 1 }]));
  const good = () => {
    const bundle = sync("c:0", 2, [{ id: "2", revision: 1 }]);
    const delta = { kind: "delta", deletes: [], inserts: [], updates: [] };
    const frame = { window: "c:1", base_version: 1, new_version: 2, base_index: 100, checksum32: 0, ...delta };
    const groups = [{ group: "online", count: 1 }];
    const counts = { version: 2, rows: 1, members: 1, groups };
    return { ...bundle, frames: [...bundle.frames, frame], counts, bases: [], windows: ["c:0", "c:1"] };
  };
  const faults = {
    bundle: () => null,
    "bundle.version": (bundle) => delete bundle.version,
    "bundle.epoch": (bundle) => (bundle.epoch = Number.NaN),
    frames: (bundle) => (bundle.frames = {}),
    "frames[0].new_version": (bundle) => delete bundle.frames[0].new_version,
    "frames[0].rows[0]": (bundle) => (bundle.frames[0].rows = [null]),
    "frames[0].rows": (bundle) => (bundle.frames[0].rows = Array(501).fill({ id: "1", revision: 1 })),
    "frames[1].updates": (bundle) => delete bundle.frames[1].updates,
    "frames[1].kind": (bundle) => (bundle.frames[1].kind = "sink"),
    "frames[1].inserts[0]": (bundle) => bundle.frames[1].inserts.push({ index: 0 }),
    "frames[1].inserts[0].row.revision": (bundle) => bundle.frames[1].inserts.push({ index: 0, row: { id: "3" } }),
    "frames[1].updates[0].patch": (bundle) => bundle.frames[1].updates.push({ index: 0, revision: 2, patch: [] }),
    "counts.groups[0].count": (bundle) => (bundle.counts.groups[0].count = -1),
    "counts.changed": (bundle) => Object.assign(bundle.counts, { groups: undefined, base_version: 1 }),
    "bases[0]": (bundle) => bundle.bases.push(7),
    windows: (bundle) => (bundle.windows = Array(9).fill("c:0")),
  };
  for (const [path, spoil] of Object.entries(faults)) {
    let bundle = good();
    if (spoil(bundle) === null) bundle = null;
    const isRight = (error) => error instanceof MalformedBundleError && error.path === path;
    assert.throws(() => client.apply(bundle), isRight, path);
    assert.equal(client.window("c:0").version, 1, path);
    assert.equal(client.counts, null, path);
  }
  client.apply(good());
  assert.equal(client.window("c:0").version, 2);
});

const REFUSED = JSON.parse(readFileSync(new URL("../malformed-bundles/refused.json", FOLDER), "utf8"));

/** Returns the good bundle of the vectors with the fault of one of them. */
function faulty({ at, is, value, nested }) {
  const bundle = structuredClone(REFUSED.good);
  const path = at.split("/").slice(1);
  const field = path.pop();
  const holder = path.reduce((outer, name) => outer[name], bundle);
  if (is === "missing") delete holder[field];
  else holder[field] = nested ? JSON.parse("[".repeat(nested) + "]".repeat(nested)) : value;
  return bundle;
}

test("the malformed bundles of all clients are refused whole", () => {
  const client = new MemberListClient();
  client.open("c:0");
  client.apply(REFUSED.good);
  const { counts } = client;
  assert.notEqual(counts, null);
  for (const fault of REFUSED.refused) {
    const isRight = (error) => error instanceof MalformedBundleError;
    assert.throws(() => client.apply(faulty(fault)), isRight, JSON.stringify(fault));
    assert.equal(client.counts, counts);
  }
});

test("attributes that become none are absent", () => {
  const none = { deletes: [], inserts: [] };
  const [row] = applyDelta([{ id: "1", revision: 1, attrs: 4 }], {
    ...none,
    updates: [{ index: 0, revision: 2, attrs: 0 }],
  });
  assert.deepEqual(row, { id: "1", revision: 2 });
});
