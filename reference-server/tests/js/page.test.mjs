// Two browsers chat over the running server; a third one scrolls a giant room.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import {
  enterAsGuest,
  launch,
  message,
  openPage,
  openRoom,
  picture,
  say,
  scrollTo,
  settled,
  sidebar,
  violations,
} from "./support/browser.mjs";
import { data, enter, register, startServer, until } from "./support/server.mjs";

const MEMBERS = 100_000;

let server;
let browser;
const pages = [];

before(async () => {
  server = await startServer({ args: ["--demo", String(MEMBERS)] });
  const owner = await register(server, "owner");
  for (const name of ["salon", "archive"]) await data(server, "POST", "/rooms", { token: owner.token, body: { name } });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
});

async function open(options) {
  const page = await openPage(browser, server.url, options);
  pages.push(page);
  return page;
}

test("two pages see each other arrive, type, talk and leave", async () => {
  const [ada, bo] = [await open(), await open({ scheme: "dark" })];
  await picture(ada, "welcome");
  const adaName = await enterAsGuest(ada, "salon");
  await ada.locator("#online-count", { hasText: "1 online" }).waitFor();
  const boName = await enterAsGuest(bo, "salon");
  assert.notEqual(adaName, boName);
  await ada.locator("#online-count", { hasText: "2 online" }).waitFor();
  await ada.locator("#online-faces").getByLabel(boName).waitFor();
  await ada.locator("#typing", { hasText: `${boName} joined` }).waitFor();
  await ada.locator("#members-rows .row.member", { hasText: boName }).waitFor();

  await bo.locator("#composer-text").pressSequentially("Hel", { delay: 30 });
  await ada.locator("#typing", { hasText: `${boName} is typing` }).waitFor();
  await say(bo, "Hello, <b>Ada</b> 👋");
  await message(ada, "Hello, <b>Ada</b> 👋").waitFor();
  await ada
    .locator("#typing", { hasText: "is typing" })
    .waitFor({ state: "detached" })
    .catch(() => {});
  assert.doesNotMatch(await ada.locator("#typing").innerText(), /typing/);
  await say(ada, "Hello yourself");
  await message(bo, "Hello yourself").waitFor();
  assert.equal(await message(ada, "Hello yourself").count(), 1);
  await picture(ada, "chat-light");
  await picture(bo, "chat-dark");

  await bo.context().close();
  await ada.locator("#online-count", { hasText: "1 online" }).waitFor();
  await ada.locator("#typing", { hasText: `${boName} left` }).waitFor();
  await ada.locator("#members-rows .row.member", { hasText: boName }).waitFor({ state: "detached" });
});

test("history loads upwards, the view does not move, and new messages wait behind a pill", async () => {
  const writer = await register(server, "writer");
  const rooms = await data(server, "GET", "/rooms", { token: writer.token });
  const archive = rooms.find(({ name }) => name === "archive");
  const post = (content, who) =>
    data(server, "POST", `/rooms/${archive.id}/messages`, { token: who.token, body: { content } });
  await enter(server, writer, archive);
  // Several authors, because each may send only ten messages in five seconds.
  await Promise.all(
    Array.from({ length: 13 }, async (_, w) => {
      const author = await register(server, `author-${w}`);
      await enter(server, author, archive);
      for (let i = 0; i < 9; i += 1) await post(`line ${w}-${i} of the archive`, author);
    }),
  );
  const page = await open();
  await enterAsGuest(page, "archive");
  await until("the newest page", async () => (await page.locator(".message").count()) === 50);
  const atBottom = () =>
    page.evaluate(() => {
      const log = document.getElementById("log");
      return log.scrollHeight - log.scrollTop - log.clientHeight < 2;
    });
  await until("the log at its end", atBottom);
  await post("seen at once", writer);
  await message(page, "seen at once").waitFor();
  await until("the log still at its end", atBottom);

  const first = await page.locator(".message").first().getAttribute("data-id");
  // Its bottom: the day line and author above it vanish when an older message precedes it.
  const bottomOf = (id) =>
    page.locator(`.message[data-id="${id}"]`).evaluate((node) => node.getBoundingClientRect().bottom);
  await page.evaluate(() => {
    document.getElementById("log").scrollTop = 100;
  });
  const before = await bottomOf(first);
  await until("older messages", async () => (await page.locator(".message").count()) > 51);
  const shift = Math.abs((await bottomOf(first)) - before);
  assert.ok(shift < 2, `the place was lost by ${shift} px when older messages came`);
  await post("behind the pill", writer);
  await page.locator("#new-messages", { hasText: "1 new message" }).waitFor();
  await picture(page, "history-pill");
  await page.locator("#new-messages").click();
  await until("the end again", atBottom);
  await page.locator("#new-messages").waitFor({ state: "hidden" });
  await until("the very first message", async () => {
    await page.evaluate(() => {
      document.getElementById("log").scrollTop = 0;
    });
    return (await page.locator("#log-top").innerText()).includes("begins");
  });
});

test("the sidebar of a hundred thousand: top, middle, end, no blank rows", async () => {
  const page = await open();
  await enterAsGuest(page, "city");
  const top = await settled(page, "top");
  assert.ok(top.total > MEMBERS, `${top.total} rows`);
  assert.equal(top.rows[0].index, 0);
  assert.equal(top.rows[0].kind, "header");
  assert.ok(
    top.rows.some(({ tag }) => tag === "simulated"),
    "simulated members are marked",
  );
  await picture(page, "members-top");

  await scrollTo(page, 0.5);
  await page.waitForTimeout(400);
  const middle = await settled(page, "middle");
  assert.ok(
    Math.abs(middle.rows[0].index - middle.total / 2) < 200,
    `middle is at ${middle.rows[0].index} of ${middle.total}`,
  );
  await picture(page, "members-middle");

  await scrollTo(page, 1);
  await page.waitForTimeout(400);
  const end = await settled(page, "end");
  assert.equal(end.rows.at(-1).index, end.total - 1);
  await picture(page, "members-end");

  for (const share of [0.9, 0.1, 0.73, 0.0]) {
    await scrollTo(page, share);
    await page.waitForTimeout(150);
    await settled(page, `share ${share}`);
  }
});

test("the sidebar scrolled by wheel stays whole, and its rows stay in order", async () => {
  const page = await open();
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await page.locator("#members-scroll").hover();
  for (let i = 0; i < 40; i += 1) {
    await page.mouse.wheel(0, 600);
    await page.waitForTimeout(60);
  }
  const there = await settled(page, "after the wheel");
  assert.ok(there.rows[0].index > 400, `reached ${there.rows[0].index}`);
  const indexes = there.rows.map(({ index }) => index);
  assert.deepEqual(
    indexes,
    indexes.map((_, i) => indexes[0] + i),
  );
  assert.equal(new Set(there.rows.map(({ name, index }) => `${name}|${index}`)).size, there.rows.length);
});

/** Scrolls to the middle of the list, and checks that the rows in view stay there while others come and go. */
async function assertRowsStay(page) {
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await scrollTo(page, 0.4);
  await page.waitForTimeout(1500);
  const before = await settled(page, "before");
  await page.waitForTimeout(5000);
  const now = await settled(page, "after");
  const places = new Map(now.rows.map(({ name, top }) => [name, top]));
  const moved = before.rows
    .filter(({ name }) => places.has(name))
    .map(({ name, top }) => Math.abs(places.get(name) - top));
  assert.ok(
    moved.length > before.rows.length / 3,
    `only ${moved.length} of ${before.rows.length} rows are still there`,
  );
  moved.sort((a, b) => a - b);
  // Rows removed from the view shift their neighbours; the view as a whole does not move.
  assert.ok(moved[Math.floor(moved.length / 2)] <= 80, `the view moved: ${moved}`);
}

test("visible rows do not move while the room changes around them", async () => {
  await assertRowsStay(await open());
});

test("visible rows do not move when changes come faster than they are drawn", async () => {
  const page = await open();
  await page.addInitScript(() => {
    globalThis.requestAnimationFrame = (draw) => setTimeout(draw, 1000);
    globalThis.cancelAnimationFrame = clearTimeout;
  });
  await page.reload();
  await assertRowsStay(page);
});

test("the list is read and navigated by keyboard", async () => {
  const page = await open();
  await enterAsGuest(page, "city");
  await settled(page, "top");
  const list = page.getByRole("listbox", { name: "Members" });
  await list.focus();
  const active = () =>
    page.evaluate(() => {
      const id = document.getElementById("members-scroll").getAttribute("aria-activedescendant");
      const row = id && document.getElementById(id);
      return row ? { position: Number(row.getAttribute("aria-posinset")), text: row.innerText } : null;
    });
  assert.match((await until("an active row", active)).text, /^Staff/);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowDown");
  assert.equal((await active()).position, 3);
  // The list is live: the last row may have changed by the time of the check.
  await until("the last row to be active", async () => {
    await page.keyboard.press("End");
    const { total } = await settled(page, "End");
    return (await active()).position === total;
  });
  await page.keyboard.press("PageUp");
  await page.keyboard.press("Home");
  await settled(page, "Home");
  assert.equal((await active()).position, 1);
  assert.equal((await sidebar(page)).rows[0].index, 0);
});

test("jumps reach a name, a letter, a group, a row and a percentage", async () => {
  const page = await open();
  await enterAsGuest(page, "city");
  await settled(page, "top");
  const active = () =>
    page.evaluate(() => {
      const row = document.querySelector("#members-rows .row.active");
      return { index: Number(row?.dataset.index), name: row?.querySelector(".row-name").textContent ?? "" };
    });
  await page.getByRole("button", { name: "Jump to a place in the list" }).click();
  const box = page.getByLabel("Name, row or percentage");
  const jump = async (text) => {
    await box.fill(text);
    await box.press("Enter");
  };
  await jump("mo");
  await until("a name that begins with mo", async () => /^mo/i.test((await active()).name));
  const first = (await active()).index;
  await box.press("Enter");
  await until(
    "the same in the next group",
    async () => (await active()).index > first + 100 && /^mo/i.test((await active()).name),
  );
  await picture(page, "jump");
  await jump("qqqq");
  await page.locator("#jump-note", { hasText: "Nobody's name begins with" }).waitFor();
  await jump("50%");
  const middle = await settled(page, "50%");
  assert.ok(Math.abs(middle.rows[0].index - middle.total / 2) < 200);
  await page.locator("#jump-groups button", { hasText: "Idle" }).click();
  let idle;
  await until("the header of the idle", async () => {
    idle = await settled(page, "idle");
    return /^Idle/.test(idle.rows[0].name) && idle.rows[0].top > -20;
  }).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(idle.rows.slice(0, 3))}`));
  await page.getByRole("listbox", { name: "Members" }).focus();
  await page.keyboard.press("s");
  await until(
    "an idle name with s",
    async () => /^s/i.test((await active()).name) && (await active()).index > idle.rows[0].index,
  ).catch(async (error) => assert.fail(`${error.message}: ${JSON.stringify([idle.rows[0], await active()])}`));
  await settled(page, "s");
});

test("who matches is shown while one types, by keyboard and by pages, and until Escape", async () => {
  const page = await open();
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await page.getByRole("button", { name: "Search, or jump to a place in the list" }).click();
  const box = page.getByRole("combobox", { name: "Name, row or percentage" });
  const matches = page.getByRole("listbox", { name: "Matches" });
  const note = page.locator("#jump-note");
  const names = () => page.locator("#found-rows .row.member:not([hidden]) .row-name").allInnerTexts();
  await box.pressSequentially("MO", { delay: 20 });
  await note.filter({ hasText: /^[\d,]+ members found/ }).waitFor();
  assert.ok((await names()).every((name) => /^mo/i.test(name)), (await names()).join());
  assert.deepEqual(await violations(page), []);
  assert.equal(await box.getAttribute("aria-expanded"), "true");

  await box.press("ArrowUp");
  const last = await names();
  const active = () =>
    page.evaluate(() => {
      const id = document.getElementById("jump-input").getAttribute("aria-activedescendant");
      return document.getElementById(id)?.querySelector(".row-name").textContent ?? null;
    });
  assert.equal(await active(), last.at(-1));
  await box.press("ArrowDown");
  const first = await active();
  await box.press("Enter");
  await page.locator("#members-rows .row.active", { hasText: first }).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), "jump-input");
  await page.locator("#found-rows .row.member:not([hidden])", { hasText: last[2] }).first().click();
  await page.locator("#members-rows .row.active", { hasText: last[2] }).waitFor();
  await picture(page, "search");

  await box.fill("s");
  await note.filter({ hasText: /, page 1$/ }).waitFor();
  const shown = await names();
  await page.getByRole("button", { name: "Next page" }).click();
  await note.filter({ hasText: /, page 2$/ }).waitFor();
  assert.ok((await names()).every((name) => /^s/i.test(name) && !shown.slice(0, 20).includes(name)));
  await page.getByRole("button", { name: "Previous page" }).click();
  await note.filter({ hasText: /, page 1$/ }).waitFor();

  await box.fill("qqqq");
  await note.filter({ hasText: "Nobody's name begins with “qqqq”." }).waitFor();
  assert.equal(await matches.isVisible(), false);
  await box.fill("mo");
  await matches.waitFor();
  await box.fill("50%");
  await matches.waitFor({ state: "hidden" });
  await box.fill("mo");
  await matches.waitFor();
  await box.press("Escape");
  await matches.waitFor({ state: "hidden" });
  assert.equal(await box.inputValue(), "");
  await box.press("Escape");
  assert.equal(await box.isVisible(), false);
});

test("a jump reaches its row although the row has moved and the window around it does not come", async () => {
  const page = await open();
  let place;
  await page.routeWebSocket(/\/socket\/websocket/, (socket) => {
    const upstream = socket.connectToServer();
    socket.onMessage((text) => {
      if (!String(text).includes('"a:')) upstream.send(text);
    });
    upstream.onMessage((text) => {
      const message = typeof text === "string" ? JSON.parse(text) : null;
      const matches = message?.[4].response?.matches;
      place = matches?.[0].index ?? place;
      // Within the same chunk: no other window is open.
      for (const match of matches ?? []) match.index += match.index % 100 < 50 ? 30 : -30;
      socket.send(matches ? JSON.stringify(message) : text);
    });
  });
  await enterAsGuest(page, "city");
  await settled(page, "top");
  await page.getByRole("button", { name: "Jump to a place in the list" }).click();
  const box = page.getByLabel("Name, row or percentage");
  await box.fill("mo");
  await box.press("Enter");
  const active = page.locator("#members-rows .row.active");
  await until("the row that was sought", async () => Math.abs((await active.getAttribute("data-index")) - place) < 15);
});

test("an account: errors are shown at the field, then rooms can be created", async () => {
  const page = await open({ width: 1000 });
  await page.getByRole("tab", { name: "Register" }).click();
  await page.locator("#username").fill("owner");
  await page.locator("#password").fill("correct horse battery");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#username-error", { hasText: "taken" }).waitFor();
  await picture(page, "register-error");
  await page.locator("#username").fill("grace");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#connection[data-state=open]").waitFor();
  await page.getByRole("button", { name: "Create a room" }).click();
  await page.locator("#room-form-name").fill("a room of one's own");
  await page.locator("#room-form-description").fill("With a view");
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await page.locator("#room-name", { hasText: "a room of one's own" }).waitFor();
  await page.locator("#room-topic", { hasText: "With a view" }).waitFor();
  await say(page, "first");
  await message(page, "first").waitFor();
  await page.reload();
  await page.locator("#room-name", { hasText: "a room of one's own" }).waitFor();
  await message(page, "first").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByRole("button", { name: "Continue as a guest" }).waitFor();
  // The refused registration is a failed request, which the browser logs.
  page.troubles = page.troubles.filter((text) => !text.includes("422"));
});

test("on a phone the panels fold away", async () => {
  const page = await open({ width: 390, height: 780, scheme: "dark" });
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await page.locator("#connection[data-state=open]").waitFor({ state: "attached" });
  await page.getByRole("button", { name: "Show the room list" }).click();
  await openRoom(page, "city");
  await page.locator("#rooms-panel").waitFor({ state: "hidden" });
  await say(page, "from a phone");
  await message(page, "from a phone").waitFor();
  await picture(page, "phone-room");
  await page.getByRole("button", { name: "Show or hide the member list" }).click();
  await settled(page, "phone");
  await page.waitForTimeout(250);
  await picture(page, "phone-members");
  await page.getByRole("button", { name: "Close the member list" }).click();
  await page.locator("#members-panel").waitFor({ state: "hidden" });
});

/** What keys reach: the accessible name of the focused element, and the part of the page it is in. */
const focused = (page) =>
  page.evaluate(() => {
    const { activeElement: element } = document;
    const part = element.closest("#rooms-panel, #members-panel, .chat, .message")?.className.split(" ")[0];
    return [element.getAttribute("aria-label") ?? element.id, part];
  });

test("keys stay in the panel over the chat, and come back to what showed it", async () => {
  const page = await open({ width: 640, height: 780 });
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await page.locator("#composer-text:enabled").waitFor();
  for (const [opener, closer, part] of [
    ["Show the room list", "Close the room list", "rooms"],
    ["Show or hide the member list", "Close the member list", "members"],
  ]) {
    await page.getByRole("button", { name: opener }).focus();
    await page.keyboard.press("Enter");
    assert.deepEqual(await focused(page), [closer, part]);
    const reached = new Set();
    for (let tabs = 0; tabs < 12; tabs += 1) {
      await page.keyboard.press("Tab");
      reached.add((await focused(page))[1]);
    }
    reached.delete(undefined);
    assert.deepEqual([...reached], [part], "from the last element keys leave the page");
    await page.getByRole("button", { name: closer }).focus();
    await page.keyboard.press("Escape");
    assert.deepEqual(await focused(page), [opener, "chat"]);
    await page.keyboard.press("Enter");
    await page.locator("#scrim").click({ position: { x: 320, y: 400 } });
    assert.deepEqual(await focused(page), [opener, "chat"]);
  }
  await page.keyboard.press("Enter");
  await page.setViewportSize({ width: 1200, height: 780 });
  await page.locator("#scrim").waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.querySelectorAll("#app > [inert]").length), 0);
  assert.equal(await page.locator("#toggle-members").getAttribute("aria-expanded"), "true");
});

test("no page logged an error on its console", () => {
  assert.deepEqual(
    pages.flatMap((page) => page.troubles),
    [],
  );
});
