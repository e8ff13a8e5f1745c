// Two browsers on two nodes of the cluster that `make cluster` starts; then their nodes are killed.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, message, openPage, openRoom, picture, say } from "./support/browser.mjs";
import { Balancer, startCluster } from "./support/cluster.mjs";
import { data, until } from "./support/server.mjs";

let cluster;
let browser;
const balancers = [];

before(async () => {
  [cluster, browser] = await Promise.all([startCluster(["--auth-per-minute", "1000"]), launch()]);
});

after(async () => {
  await browser?.close();
  for (const balancer of balancers) balancer.close();
  assert.match(await cluster.end(), /cluster: ended/);
});

/** Registers a user on a page that reaches the first of these nodes that lives, and opens the lobby. */
async function arrive(name, nodes, options) {
  const balancer = await new Balancer(nodes).listen();
  balancers.push(balancer);
  const page = await openPage(browser, balancer.url, options);
  await page.getByRole("tab", { name: "Register" }).click();
  await page.locator("#username").fill(name);
  await page.locator("#password").fill("correct horse battery");
  await page.getByRole("button", { name: "Create account" }).click();
  await page.locator("#connection[data-state=open]").waitFor();
  await openRoom(page, "lobby");
  return { name, page, balancer };
}

/** Waits until a page shows both as online: in the count, in the faces and in the member list. */
async function showsBoth({ page }, users) {
  await page.locator("#online-count", { hasText: "2 online" }).waitFor();
  for (const { name } of users) {
    await page.locator("#online-faces").getByLabel(name).waitFor();
    await page.locator("#members-rows .row.member:not([data-status=offline])", { hasText: name }).waitFor();
  }
}

/** Waits until a page shows these messages, each once, in this order, and nothing that is not sent. */
async function showsAll({ page }, texts) {
  const shown = () => page.locator(".message .message-body").allInnerTexts();
  await until(`${texts.length} messages`, async () => (await shown()).length >= texts.length);
  assert.deepEqual(await shown(), texts);
  assert.equal(await page.locator(".message.pending, .message.failed").count(), 0);
}

test("users of two nodes chat; their nodes are killed, and both go on with nothing lost", async () => {
  const [first, second, third] = cluster.nodes;
  const ada = await arrive("ada", [first, third]);
  const bob = await arrive("bób", [second, third], { scheme: "dark" });
  const both = [ada, bob];
  assert.deepEqual(both.map(({ balancer }) => balancer.webSockets), [[first], [second]]);
  await ada.page.locator("#typing", { hasText: `${bob.name} joined` }).waitFor();
  for (const user of both) await showsBoth(user, both);

  await bob.page.locator("#composer-text").pressSequentially("Hel", { delay: 30 });
  await ada.page.locator("#typing", { hasText: `${bob.name} is typing` }).waitFor();
  const texts = [];
  const talk = async (from, to, text) => {
    texts.push(text);
    await say(from.page, text);
    await message(to.page, text).waitFor();
  };
  await talk(bob, ada, "Hello from the second node 👋");
  await talk(ada, bob, "And from the first");
  await picture(ada.page, "cluster-ada");
  await picture(bob.page, "cluster-bob");

  for (const [node, user, other] of [[first, ada, bob], [second, bob, ada]]) {
    process.kill(node.pid, "SIGKILL");
    // What both say before the user of that node is at another one.
    const meanwhile = [`said by ${user.name} to a dead node`, `said by ${other.name} meanwhile`];
    await Promise.all([say(user.page, meanwhile[0]), say(other.page, meanwhile[1])]);
    await until("the user to be at another node", () => user.balancer.webSockets.length > 1);
    await user.page.locator("#connection[data-state=open]").waitFor();
    for (const { page } of both) for (const text of meanwhile) await message(page, text).waitFor();
    const stored = await history(third, ada);
    assert.deepEqual([...stored].sort(), [...texts, ...meanwhile].sort());
    texts.splice(0, texts.length, ...stored);
    await talk(user, other, `From the third node now, ${user.name}`);
    await talk(other, user, `I hardly noticed, ${user.name}`);
    for (const either of both) {
      await showsBoth(either, both);
      await showsAll(either, texts);
      assert.equal(await either.page.locator("#banner").isVisible(), false);
    }
    await picture(ada.page, `cluster-ada-${user.name}-back`);
    await picture(bob.page, `cluster-bob-${user.name}-back`);
  }
  assert.deepEqual(both.map(({ balancer }) => balancer.webSockets), [[first, third], [second, third]]);
  const troubles = both.flatMap(({ page }) => page.troubles);
  assert.deepEqual(troubles.filter((text) => !text.includes("WebSocket connection to")), []);
});

/** Returns the messages of the lobby as a node reads them from the database. */
async function history(node, { name }) {
  const body = { username: name, password: "correct horse battery" };
  const { token } = await data(node, "POST", "/auth/login", { body });
  const lobby = (await data(node, "GET", "/rooms", { token })).find((room) => room.name === "lobby");
  const messages = await data(node, "GET", `/rooms/${lobby.id}/messages?limit=100`, { token });
  return messages.map(({ content }) => content);
}
