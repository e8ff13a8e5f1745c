// A sidebar of a million members, a thousand of which change every second.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { enterAsGuest, launch, openPage, picture, scrollTo, settled, sidebar } from "./support/browser.mjs";
import { answer, Client, data, enter, register, startServer } from "./support/server.mjs";

const MEMBERS = 1_000_000;
const CHANGES_PER_SECOND = 1000;
const WATCHED_MS = 8000;

let server;
let browser;
let page;

before(async () => {
  server = await startServer({ args: ["--demo", String(MEMBERS), "--demo-rate", String(CHANGES_PER_SECOND)] });
  browser = await launch();
  page = await openPage(browser, server.url);
  await enterAsGuest(page, "city");
});

after(async () => {
  await browser?.close();
  await server?.end();
});

/** Returns by how many pixels the rows in both views have moved: the commonest difference. */
function moved(before, now) {
  const places = new Map(before.rows.filter(({ kind }) => kind === "member").map(({ name, top }) => [name, top]));
  const votes = new Map();
  for (const { name, top } of now.rows) {
    if (!places.has(name)) continue;
    const by = Math.round(top - places.get(name));
    votes.set(by, (votes.get(by) ?? 0) + 1);
  }
  const ranked = [...votes].sort((a, b) => b[1] - a[1]);
  return ranked.length > 0 ? ranked[0][0] : null;
}

test("every part of it is reached, and no row stays blank", async () => {
  const top = await settled(page, "top");
  assert.ok(top.total > MEMBERS, `${top.total} rows`);
  await picture(page, "million-top");
  for (const share of [0.5, 0.25, 0.999, 1, 0.75]) {
    await scrollTo(page, share);
    await page.waitForTimeout(250);
    const { rows, total } = await settled(page, `share ${share}`);
    assert.ok(Math.abs(rows[0].index / total - share) < 0.002, `${share}: row ${rows[0].index} of ${total}`);
  }
  await scrollTo(page, 1);
  await page.waitForTimeout(250);
  const end = await settled(page, "end");
  assert.equal(end.rows.at(-1).index, end.total - 1);
  await picture(page, "million-end");
});

test("the scrollbar dragged across it leaves rows where it stops", async () => {
  for (let step = 0; step <= 40; step += 1) {
    await scrollTo(page, 1 - step / 60);
    await page.waitForTimeout(16);
  }
  await page.waitForTimeout(250);
  const { rows, total } = await settled(page, "where the drag stopped");
  assert.ok(Math.abs(rows[0].index / total - 1 / 3) < 0.01);
});

test("visible rows do not move while a thousand members a second change", async () => {
  await scrollTo(page, 0.4);
  await page.waitForTimeout(600);
  let last = await settled(page, "at rest");
  const online = new Set();
  const jumps = [];
  let samples = 0;
  for (const end = Date.now() + WATCHED_MS; Date.now() < end;) {
    await page.waitForTimeout(200);
    const now = await sidebar(page);
    assert.equal(now.skeletons, 0, "a row went blank");
    const by = moved(last, now);
    if (by !== 0) jumps.push(by);
    online.add(await page.locator("#online-count").innerText());
    last = now;
    samples += 1;
  }
  await picture(page, "million-middle");
  assert.ok(samples > 10, `${samples} samples`);
  assert.deepEqual(jumps, [], "the view moved");
  assert.ok(online.size > 2, `the count of those online stood still: ${[...online]}`);
});

test("scrolling on by wheel from the middle stays whole", async () => {
  await page.locator("#members-scroll").hover();
  const {
    rows: [before],
  } = await settled(page, "before the wheel");
  const started = Date.now();
  for (let i = 0; i < 30; i += 1) {
    await page.mouse.wheel(0, 500);
    await page.waitForTimeout(60);
  }
  const { rows } = await settled(page, "after the wheel");
  // 15,000 pixels are 375 rows; meanwhile members join and leave above, which shifts the indexes.
  const drift = 25 + ((Date.now() - started) / 1000) * CHANGES_PER_SECOND * 0.2;
  const by = rows[0].index - before.index;
  assert.ok(Math.abs(by - 375) < drift, `by ${by} rows, from ${before.index}`);
});

test("a search over it shows who matches while one types, and what changes there", async () => {
  const box = page.getByRole("combobox", { name: "Name, row or percentage" });
  const found = page.locator("#found-rows .row:not([hidden])");
  const note = page.locator("#jump-note");
  await page.getByRole("button", { name: "Search, or jump to a place in the list" }).click();
  await box.pressSequentially("ada lo", { delay: 40 });
  await note.filter({ hasText: /^[\d,]+ members found/ }).waitFor();
  const names = await page.locator("#found-rows .row.member:not([hidden]) .row-name").allInnerTexts();
  assert.ok(names.length > 10, `${names.length} rows`);
  assert.ok(names.every((name) => /^ada lo/i.test(name)), names.join());
  assert.match(await found.first().innerText(), /^(Online|Idle|Offline) — /);
  await picture(page, "million-search");

  await box.fill("zyzzogeton");
  await note.filter({ hasText: "Nobody's name begins with" }).waitFor();
  assert.equal(await page.locator("#found").isVisible(), false);
  const user = await register(server, "zyzzogeton");
  const rooms = await data(server, "GET", "/rooms", { token: user.token });
  const city = rooms.find(({ name }) => name === "city");
  await enter(server, user, city);
  await note.filter({ hasText: "1 member found" }).waitFor();
  const row = page.locator("#found-rows .row.member:not([hidden])", { hasText: "zyzzogeton" });
  assert.equal(await row.getAttribute("data-status"), "offline");
  const client = new Client(server, user);
  const { channel } = await client.join(`room:${city.id}`);
  await answer(channel.push("set_status", { status: "idle" }));
  await page.locator("#found-rows .row.member[data-status=idle]:not([hidden])").waitFor();
  await picture(page, "million-search-live");
  await box.press("ArrowDown");
  await box.press("Enter");
  await page.locator("#members-rows .row.active", { hasText: "zyzzogeton" }).waitFor();
  await settled(page, "the member found");
  await picture(page, "million-search-jump");
  client.close();
  await box.press("Escape");
  assert.equal(await box.inputValue(), "");
  assert.equal(await page.locator("#found").isVisible(), false);
});

test("the console stayed empty", () => {
  assert.deepEqual(page.troubles, []);
});
