// Takes the screenshot of the README: a chat in the room of a hundred thousand simulated members.
//
//     node screenshot.mjs [light|dark]      writes ../../docs/screenshot.png

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { launch, openPage, openRoom, scrollTo, settled } from "./support/browser.mjs";
import { Client, data, enter, register, ROOT, startServer } from "./support/server.mjs";

const TALK = [
  ["Noor", "Morning! Does anybody see the sidebar move?"],
  ["Tomás", "Yes. A hundred thousand in here, and it scrolls like a list of ten."],
  ["Tomás", "The count in the corner is live too."],
  ["Ingrid", "I dragged the scrollbar to the middle. No blank rows, and nothing jumps when people come and go above."],
  ["Kwame", "What travels when a user goes idle?"],
  ["Ingrid", "One small delta for those who have that window open. Everybody else gets a new count, once a second."],
  ["Noor", "And the names marked “simulated” are the demo's own 👋"],
];

const scheme = process.argv[2] ?? "light";
const server = await startServer({ args: ["--demo", "100000"] });
const browser = await launch();
const clients = [];
try {
  const people = new Map();
  for (const name of new Set(TALK.map(([name]) => name))) {
    const account = await register(server, name);
    const rooms = await data(server, "GET", "/rooms", { token: account.token });
    const city = rooms.find((room) => room.name === "city");
    await enter(server, account, city);
    const client = new Client(server, account);
    clients.push(client);
    people.set(name, await client.join(`room:${city.id}`));
  }
  const [first] = clients;
  for (const name of ["rust", "elixir", "python"])
    await data(server, "POST", "/rooms", { token: first.token, body: { name } });
  for (const [name, content] of TALK) await people.get(name).push("new_message", { content });

  const page = await openPage(browser, server.url, { scheme, width: 1280, height: 720 });
  await page.getByRole("tab", { name: "Register" }).click();
  await page.locator("#username").fill("Ada");
  await page.locator("#password").fill("correct horse battery");
  await page.getByRole("button", { name: "Create account" }).click();
  await openRoom(page, "city");
  await settled(page, "top");
  await scrollTo(page, 0.42);
  await page.waitForTimeout(400);
  await settled(page, "middle");
  people.get("Kwame").channel.push("typing", {});
  await page.locator("#typing", { hasText: "Kwame is typing" }).waitFor();
  await page.mouse.move(5, 5);
  mkdirSync(join(ROOT, "reference-server/docs"), { recursive: true });
  await page.screenshot({ path: join(ROOT, "reference-server/docs/screenshot.png") });
} finally {
  for (const client of clients) client.close();
  await browser.close();
  await server.end();
}
