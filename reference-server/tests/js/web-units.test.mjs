// The parts of the page that work without one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Api, ApiError, sentence } from "../../web/api.mjs";
import { reconnectDelayMs } from "../../web/connection.mjs";
import { initials } from "../../web/dom.mjs";
import { Listing, readPages } from "../../web/listing.mjs";
import { commonShift, groupAt, layOut, shiftActive } from "../../web/headcount/groups.mjs";
import { parseJump } from "../../web/members/jump-box.mjs";
import { HEIGHT_MAX_PX, ScrollMap } from "../../web/headcount/scroll-map.mjs";
import { MessageStore } from "../../web/message-store.mjs";
import { typingText } from "../../web/online.mjs";
import { Room } from "../../web/room.mjs";
import { ReadMarks } from "../../web/unread.mjs";

const ROW = 40;

function mapOf(rows, viewHeight = 800) {
  const map = new ScrollMap(ROW);
  map.resize(rows, viewHeight);
  return map;
}

test("a list that fits is scrolled pixel by pixel", () => {
  const map = mapOf(100_000);
  assert.equal(map.height, 4_000_000);
  assert.equal(map.scrolled(2_000_000), true);
  assert.equal(map.offset, (2_000_000 / map.scrollMax) * map.offsetMax);
  const [first, end] = map.visible;
  assert.deepEqual([first, end], [50_000, 50_020]);
  assert.equal(map.scrolled(2_000_100), false);
  assert.equal(map.layoutTop(50_000), 2_000_000);
});

test("a taller list is scaled: ends and middle are reached, short moves are exact", () => {
  const map = mapOf(10_000_000);
  assert.equal(map.height, HEIGHT_MAX_PX);
  map.scrolled(map.scrollMax);
  assert.equal(map.visible[1], 10_000_000);
  map.scrolled(map.scrollMax / 2);
  assert.ok(Math.abs(map.visible[0] - 5_000_000) < 20);
  const { offset } = map;
  map.scrolled(map.scrollTop + 120);
  assert.equal(map.offset, offset + 120);
  map.scrolled(0);
  assert.equal(map.offset, 0);
});

test("rows added above the view do not move the visible rows", () => {
  for (const rows of [100_000, 1_000_000]) {
    const map = mapOf(rows);
    map.scrolled(map.scrollMax / 3);
    const row = map.visible[0];
    const before = map.layoutTop(row);
    map.resize(rows + 7, 800);
    map.shift(7);
    assert.ok(Math.abs(map.layoutTop(row + 7) - before) < 0.001);
    const inView = map.layoutTop(row + 7) - map.scrollTop;
    map.settle();
    assert.ok(Math.abs(map.layoutTop(row + 7) - map.scrollTop - inView) < 0.001);
    // After `settle` the scrollbar gives the same position.
    const again = mapOf(rows + 7);
    again.scrolled(map.scrollTop);
    assert.ok(Math.abs(again.offset - map.offset) < 1);
  }
});

test("the ends are reached by scrolling, not by a jump", () => {
  const map = mapOf(10_000_000);
  map.goTo(1000);
  let scrolled = 0;
  while (map.offset > 0) {
    const before = map.offset;
    map.scrolled(Math.max(0, map.scrollTop - 100));
    assert.ok(before - map.offset <= 100);
    scrolled += before - map.offset;
    if (map.isStuck) map.settle();
  }
  assert.ok(Math.abs(scrolled - 1000 * ROW) < 0.01);
  assert.equal(map.isStuck, false);
});

test("a row is revealed with the least movement", () => {
  const map = mapOf(1000);
  map.reveal(5, ROW);
  assert.equal(map.offset, 0);
  map.reveal(30);
  assert.equal(map.offset, 31 * ROW - 800);
  map.reveal(3, ROW);
  assert.equal(map.offset, 2 * ROW);
  map.goTo(500);
  assert.deepEqual(map.visible, [500, 520]);
  map.goTo(999);
  assert.deepEqual(map.visible, [980, 1000]);
  map.resize(10, 800);
  assert.equal(map.offset, 0);
});

test("groups are laid out from the counts", () => {
  const groups = [
    { group: "dnd", count: 3 },
    { group: "idle", count: 0 },
    { group: "secret", count: 9, hidden: true },
    { group: "bots", count: 50, collapsed: true },
    { group: "offline", count: 10 },
  ];
  const placed = layOut({ rows: 16, groups });
  assert.deepEqual(
    placed.map(({ group, first, rows }) => [group, first, rows]),
    [
      ["dnd", 0, 4],
      ["bots", 4, 1],
      ["offline", 5, 11],
    ],
  );
  assert.equal(placed[0].name, "Do not disturb");
  assert.equal(placed[2].name, "Offline");
  assert.equal(groupAt(placed, 4).group, "bots");
  assert.equal(groupAt(placed, 15).group, "offline");
  assert.equal(groupAt(placed, 16), null);
  assert.deepEqual(
    layOut({ headers: false, groups }).map(({ first, rows }) => [first, rows]),
    [
      [0, 3],
      [3, 10],
    ],
  );
  assert.deepEqual(layOut(null), []);
});

test("a place to jump to is a row, a percentage or a name", () => {
  const rows = 100_004;
  for (const [text, index] of [
    ["1", 0],
    ["100004", 100_003],
    ["50,000", 49_999],
    ["#12", 11],
    ["0%", 0],
    [" 100 % ", 100_003],
    ["50%", 50_002],
    ["33.3%", 33_301],
  ]) {
    assert.deepEqual(parseJump(text, rows), { index }, text);
  }
  for (const text of ["0", "100005", "101%", "-5", "", "   "]) assert.ok(parseJump(text, rows).error, text);
  for (const text of ["ada", "1e3", " 3rd floor ", "٣"]) {
    assert.deepEqual(parseJump(text, rows), { name: text.trim() });
  }
});

test("the commonest shift wins over rows that moved by themselves", () => {
  const before = new Map([
    ["a", 10],
    ["b", 11],
    ["c", 12],
    ["d", 13],
  ]);
  assert.equal(
    commonShift(
      before,
      new Map([
        ["a", 900],
        ["b", 14],
        ["c", 15],
      ]),
    ),
    3,
  );
  assert.equal(commonShift(before, new Map([["x", 1]])), 0);
  assert.equal(commonShift(before, before), 0);
});

test("a header on top stays where it is when rows come or go below it", () => {
  const rows = (first, ...keys) => new Map(keys.map((key, at) => [key, first + at]));
  const before = rows(100, "g:idle", "m:1", "m:2", "m:3");
  assert.equal(commonShift(before, rows(100, "g:idle", "m:new", "m:1", "m:2", "m:3")), 0);
  assert.equal(commonShift(before, rows(100, "g:idle", "m:2", "m:3")), 0);
  assert.equal(commonShift(before, rows(98, "g:idle", "m:1", "m:2", "m:3")), -2);
});

test("the active row stays, and goes on to the next one when it is gone", () => {
  const before = new Map([
    ["m:a", 10],
    ["m:b", 11],
    ["m:c", 12],
    ["m:d", 13],
  ]);
  const at = (rows) => new Map(rows.map(([key, index]) => [key, index]));
  const moved = (active, rows) => shiftActive(active, before, at(rows), commonShift(before, at(rows)));
  assert.equal(moved(11, [["m:a", 13], ["m:b", 14], ["m:c", 15], ["m:d", 16]]), 14);
  // The second is gone: those below it move up, which moves the view.
  assert.equal(moved(11, [["m:a", 10], ["m:c", 11], ["m:d", 12]]), 11);
  // It is gone to another place.
  assert.equal(moved(11, [["m:a", 10], ["m:c", 11], ["m:d", 12], ["m:b", 90]]), 11);
  assert.equal(moved(13, [["m:a", 10], ["m:b", 11], ["m:c", 12]]), 13);
  assert.equal(moved(40, [["m:a", 9], ["m:b", 10], ["m:c", 11], ["m:d", 12]]), 39);
});

test("a header on top whose place is not known stays", () => {
  const before = new Map([
    ["g:idle", 10],
    ["m:a", 11],
    ["m:b", 12],
  ]);
  const after = new Map([
    ["m:a", 12],
    ["m:b", 13],
  ]);
  assert.equal(commonShift(before, after), 0);
});

test("messages are listed once, in order, and a gap is noticed", () => {
  const store = new MessageStore();
  const message = (seq) => ({ id: `m${seq}`, seq, content: String(seq), inserted_at: "2026-01-01T00:00:00Z" });
  store.add([message(5), message(6)]);
  assert.deepEqual(
    store.add([message(6), message(4), message(7)]).map(({ seq }) => seq),
    [4, 7],
  );
  assert.deepEqual(
    store.messages.map(({ seq }) => seq),
    [4, 5, 6, 7],
  );
  assert.equal(store.gapBefore([message(7), message(8)]), null);
  assert.equal(store.gapBefore([message(8)]), null);
  assert.equal(store.gapBefore([message(9)]), 7);
  store.hasOlder = false;
  store.trim(2);
  assert.deepEqual(
    store.messages.map(({ seq }) => seq),
    [6, 7],
  );
  assert.equal(store.hasOlder, true);
  assert.deepEqual(store.add([message(4)]).length, 1);
});

test("reconnects back off, and are spread in time", () => {
  assert.equal(
    reconnectDelayMs(1, () => 0.5),
    50,
  );
  assert.equal(
    reconnectDelayMs(99, () => 0.5),
    5000,
  );
  assert.ok(reconnectDelayMs(3, () => 0) < reconnectDelayMs(3, () => 0.99));
});

test("refusals become errors that state what to do", async () => {
  const api = (status, body, headers = {}) =>
    new Api({
      fetch: async () => new Response(typeof body === "string" ? body : JSON.stringify(body), { status, headers }),
    });
  const failure = async (promise) =>
    promise.then(
      () => assert.fail("expected a refusal"),
      (error) => error,
    );
  const taken = await failure(api(422, { errors: { username: ["is taken"] } }).register("a", "b"));
  assert.ok(taken instanceof ApiError);
  assert.equal(taken.message, "Name is taken.");
  assert.deepEqual(taken.fields, { username: ["is taken"] });
  const limited = await failure(api(429, { error: "rate limited", retry_after_ms: 1500 }).guest());
  assert.equal(limited.retryAfterMs, 1500);
  assert.equal((await failure(api(502, "<html>").me())).message, "The server had a problem. Try again in a moment.");
  const away = new Api({ fetch: async () => Promise.reject(new TypeError("down")) });
  assert.match((await failure(away.rooms())).message, /cannot be reached/);
  assert.deepEqual(await api(200, { data: [1] }).rooms(), [1]);
});

test("small texts", () => {
  assert.equal(sentence("rate limited"), "Rate limited.");
  assert.equal(initials("ada lovelace"), "AL");
  assert.equal(initials("guest-x7f2"), "GX");
  assert.equal(initials("Ada Okafor 12"), "AO");
  assert.equal(initials("guest-8e95"), "G8");
  assert.equal(initials("张伟"), "张");
  assert.equal(initials(""), "?");
  assert.equal(typingText(["Ada", "Bo", "Chen"]), "Ada, Bo and Chen are typing");
  assert.equal(typingText(["a", "b", "c", "d"]), "Several people are typing");
});

test("all pages of a listing are read, one after the other", async () => {
  for (const [total, requests] of [
    [0, 1],
    [99, 1],
    [100, 2],
    [250, 3],
    [9_999, 20],
  ]) {
    const all = Array.from({ length: total }, (_, id) => ({ id }));
    let asked = 0;
    const items = await readPages(async ({ limit, after }) => {
      asked += 1;
      return all.slice(after === null ? 0 : after + 1).slice(0, limit);
    });
    assert.deepEqual(items, all.slice(0, 2_000));
    assert.equal(asked, requests);
  }
});

test("of each room it is told what is read, though another one is opened at once", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const told = [];
  const marks = new ReadMarks({ markRead: async (id, seq) => told.push([id, seq]) });
  marks.note("a", 1);
  marks.note("b", 7);
  marks.note("a", 2);
  t.mock.timers.tick(300);
  assert.deepEqual(told, [
    ["b", 7],
    ["a", 2],
  ]);
});

test("a gap between messages is filled, also while older ones are loaded", async () => {
  const channel = new Proxy({}, { get: () => () => undefined });
  const message = (seq) => ({ id: `m${seq}`, seq, content: "", user: { id: "bob" }, inserted_at: "2026-01-01" });
  const api = {
    messages: async (_, { beforeId, afterSeq }) =>
      beforeId ? new Promise(() => {}) : [6, 7, 8].filter((seq) => seq > afterSeq).map(message),
  };
  const info = { id: "r", kind: "group" };
  const room = new Room({ info, socket: { channel: () => channel }, api, me: { id: "ada" } });
  room.store.add([message(5), message(9)]);
  room.store.hasOlder = true;
  room.loadOlder();
  await room.fillGap(5, 9);
  assert.equal(room.store.gapBefore([message(9)]), null);
  assert.deepEqual(room.store.messages.map(({ seq }) => seq), [5, 6, 7, 8, 9]);
});

test("a listing has what came while it was fetched, and the newest answer", async () => {
  const listing = new Listing();
  const answers = [];
  const fetch = () => listing.fetch(() => new Promise((answer, fail) => answers.push({ answer, fail })));
  const ids = () => listing.items.map(({ id }) => id);
  const first = fetch();
  listing.add({ id: "b" });
  listing.remove("a");
  answers[0].answer([{ id: "a" }, { id: "c" }]);
  assert.equal(await first, true);
  assert.deepEqual(ids(), ["c", "b"]);

  const [slow, fast, failed] = [fetch(), fetch(), fetch()];
  listing.addFirst({ id: "d" });
  listing.note("c", { name: "sea" });
  answers[3].fail(new Error("lost"));
  await assert.rejects(failed, /lost/);
  answers[2].answer([{ id: "c" }, { id: "e" }]);
  assert.equal(await fast, true);
  answers[1].answer([{ id: "f" }]);
  assert.equal(await slow, false);
  assert.deepEqual(listing.items, [{ id: "d" }, { id: "c", name: "sea" }, { id: "e" }]);

  const late = fetch();
  listing.clear();
  answers[4].answer([{ id: "g" }]);
  assert.equal(await late, false);
  assert.deepEqual(ids(), []);
});

test("numbers of messages in a listing only rise, and stay unset for one that is no member", async () => {
  const listing = new Listing();
  listing.add({ id: "a", last_seq: 7, read_seq: 5 });
  await listing.fetch(async () => [{ id: "a", last_seq: 6, read_seq: 6 }]);
  assert.deepEqual(listing.items, [{ id: "a", last_seq: 7, read_seq: 6 }]);
  await listing.fetch(async () => [{ id: "a", last_seq: 9 }]);
  assert.deepEqual(listing.items, [{ id: "a", last_seq: 9 }]);
});
