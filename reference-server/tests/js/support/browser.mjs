// Debian's Chromium through playwright-core, and helpers of tests on the page.

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { ROOT } from "./server.mjs";

const EXECUTABLE = process.env.HEADCOUNT_CHROMIUM ?? "/usr/bin/chromium";
const ARTIFACTS = join(ROOT, "test-artifacts");
const PATIENCE_MS = 30_000;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Launches a headless browser without background traffic. */
export function launch() {
  return chromium.launch({
    executablePath: EXECUTABLE,
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Opens a page in a context of its own (its own guest); `page.troubles` collects console errors and exceptions. */
export async function openPage(browser, url, { scheme = "light", width = 1280, height = 800, scripts = true } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    javaScriptEnabled: scripts,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
  page.troubles = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && page.troubles.push(message.text()));
  page.on("pageerror", (error) => page.troubles.push(error.stack ?? String(error)));
  page.on("requestfailed", (request) => {
    const error = request.failure()?.errorText;
    // A reload aborts what is under way.
    if (error !== "net::ERR_ABORTED") page.troubles.push(`${request.url()}: ${error}`);
  });
  await page.goto(url);
  return page;
}

/** Enters the room of this name as a guest. Returns the guest's name. */
export async function enterAsGuest(page, room) {
  await page.getByRole("button", { name: "Continue as a guest" }).click();
  await page.locator("#connection[data-state=open]").waitFor();
  await openRoom(page, room);
  return page.locator("#me-name").innerText();
}

/** Signs an account in. */
export async function signIn(page, name, password = "correct horse battery") {
  await page.locator("#username").fill(name);
  await page.locator("#password").fill(password);
  await page.locator("#auth-submit").click();
  await page.locator("#connection[data-state=open]").waitFor({ state: "attached" });
}

export async function openRoom(page, room) {
  await page.locator(".room", { has: page.getByText(room, { exact: true }) }).click();
  await page.locator("#room-name", { hasText: room }).waitFor();
  await page.locator("#composer-text:enabled").waitFor();
}

export async function say(page, text) {
  await page.locator("#composer-text").fill(text);
  await page.locator("#composer-text").press("Enter");
}

/** Returns a message in the log, by its text. */
export function message(page, text) {
  return page.locator(".message:not(.pending):not(.failed)", { hasText: text });
}

/** Returns the visible state of the member sidebar. */
export function sidebar(page) {
  return page.evaluate(() => {
    const scroll = document.getElementById("members-scroll");
    const box = scroll.getBoundingClientRect();
    const rows = [...document.querySelectorAll("#members-rows .row:not([hidden])")]
      .map((row) => ({ row, rect: row.getBoundingClientRect() }))
      .filter(({ rect }) => rect.bottom > box.top + 1 && rect.top < box.bottom - 1)
      .sort((a, b) => a.rect.top - b.rect.top);
    return {
      total: Number(rows[0]?.row.getAttribute("aria-setsize") ?? 0),
      // The share of the view with rows, if the list is long enough to fill it.
      covered:
        rows.reduce((sum, { rect }) => sum + Math.min(rect.bottom, box.bottom) - Math.max(rect.top, box.top), 0) /
        Math.min(box.height, document.getElementById("members-sizer").offsetHeight),
      skeletons: rows.filter(({ row }) => row.classList.contains("skeleton")).length,
      rows: rows.map(({ row, rect }) => ({
        index: Number(row.dataset.index),
        top: rect.top - box.top,
        name: row.querySelector(".row-name").textContent,
        kind: row.classList.contains("group-row")
          ? "header"
          : row.classList.contains("skeleton")
            ? "skeleton"
            : "member",
        tag: row.querySelector(".tag").hidden ? "" : row.querySelector(".tag").textContent,
      })),
    };
  });
}

/** Waits until the sidebar shows rows only: no skeleton, no gap. */
export async function settled(page, what) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const now = await sidebar(page);
    if (now.rows.length > 0 && now.skeletons === 0 && now.covered > 0.98) return now;
    if (Date.now() > end) assert.fail(`${what}: blank rows remain: ${JSON.stringify(now)}`);
    await page.waitForTimeout(50);
  }
}

/** Scrolls the sidebar to a share of its height, as dragging the scrollbar does. */
export function scrollTo(page, share) {
  return page.evaluate((part) => {
    const scroll = document.getElementById("members-scroll");
    scroll.scrollTop = part * (scroll.scrollHeight - scroll.clientHeight);
  }, share);
}

/** Saves a picture of the page, to be looked at after the run. */
export async function picture(page, name) {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`) });
}

/** Returns what axe finds on the page that some users could not read or reach. */
export async function violations(page) {
  await page.evaluate(AXE);
  const { violations: found } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }),
  );
  return found.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .map(({ target, failureSummary }) => `${target} (${failureSummary})`)
        .slice(0, 3)
        .join("; ")}`,
  );
}
