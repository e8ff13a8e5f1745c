// Sign-in at a provider of OpenID Connect, from the page and as an attacker would.

import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { createServer } from "node:net";
import { launch, openPage, picture } from "./support/browser.mjs";
import { json, startProvider } from "./support/oidc-provider.mjs";
import { call, data, register, startServer } from "./support/server.mjs";

let provider;
let server;
let browser;

before(async () => {
  provider = await startProvider();
  const port = await freePort();
  server = await startServer({
    port,
    args: [
      ...["--tenant", "default", "--tenant", "other", "--public-url", `http://127.0.0.1:${port}`],
      ...["--oidc-issuer", provider.url, "--oidc-client-id", provider.client.id],
      ...["--oidc-client-secret", provider.client.secret, "--oidc-name", "Example & Sons"],
    ],
  });
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server?.end();
  await provider?.end();
});

beforeEach(() => Object.assign(provider, { faults: {}, hasUserinfoOnly: false }));

async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

/** A browser without pages: it keeps cookies and follows no redirect. */
class Agent {
  cookies = new Map();

  async get(url, options = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...(cookie && { cookie }), ...options.headers };
    const response = await fetch(url, { ...options, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/);
      if (/max-age=0/i.test(line)) this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    return response;
  }

  /** Begins to sign in. Returns the code and the state with which the provider sends the browser back. */
  async depart(tenant = "default") {
    const response = await this.get(`${server.url}/auth/oidc/login?tenant=${tenant}`);
    assert.equal(response.status, 303);
    return provider.authorize(response.headers.get("location"));
  }

  /** Comes back with that. Returns the parameters of the page to which the server sends the browser. */
  async comeBack(query) {
    const response = await this.get(`${server.url}/auth/oidc/callback?${new URLSearchParams(query)}`);
    assert.equal(response.status, 303);
    const page = new URL(response.headers.get("location"));
    assert.equal(page.origin + page.pathname, `${server.url}/`);
    return Object.fromEntries(page.searchParams);
  }

  /** Asks for the session: `{status, body}`. */
  async session() {
    const response = await this.get(`${server.url}/api/v1/auth/oidc`, { method: "POST" });
    return { status: response.status, body: await response.json() };
  }

  /** Signs in. Returns the user. */
  async signIn(tenant) {
    const { code, state } = await this.depart(tenant);
    assert.equal((await this.comeBack({ code, state })).signed_in, "oidc");
    const { status, body } = await this.session();
    assert.equal(status, 200, JSON.stringify(body));
    const me = await data(server, "GET", "/auth/me", { token: body.data.token });
    assert.equal(me.id, body.data.user.id);
    return { ...body.data.user, token: body.data.token };
  }
}

function signIn(user, tenant) {
  provider.user = user;
  return new Agent().signIn(tenant);
}

test("a user signs in on the page, and again after signing out", async (t) => {
  provider.user = { sub: "page", preferred_username: "Grace" };
  const page = await openPage(browser, server.url);
  t.after(() => page.context().close());
  const link = page.getByRole("link", { name: "Sign in with Example & Sons" });
  await picture(page, "sign-in-with-provider");
  for (const _ of ["first", "again"]) {
    await link.click();
    await page.locator("#connection[data-state=open]").waitFor();
    assert.equal(await page.locator("#me-name").innerText(), "grace");
    assert.doesNotMatch(page.url(), /signed_in|code|token/);
    await page.getByRole("button", { name: "Sign out" }).click();
    await link.waitFor();
  }
  provider.faults.authorize = { error: "access_denied" };
  await link.click();
  await page.getByText("The sign-in was cancelled.").waitFor();
  assert.doesNotMatch(page.url(), /sign_in_error/);
  assert.deepEqual(page.troubles, []);
});

test("a user is one by its id at the provider, in each tenant", async () => {
  const first = await signIn({ sub: "lovelace", preferred_username: "Lovelace" });
  const renamed = await signIn({ sub: "lovelace", preferred_username: "Byron" });
  assert.deepEqual([renamed.id, renamed.username], [first.id, "lovelace"]);
  assert.deepEqual([first.guest, first.tenant], [false, "default"]);
  const other = await signIn({ sub: "lovelace", preferred_username: "Lovelace" }, "other");
  assert.notEqual(other.id, first.id);
  assert.deepEqual([other.username, other.tenant], ["lovelace", "other"]);
});

test("names that are taken, or cannot be, become others", async () => {
  await register(server, "hopper");
  const names = [];
  for (const [sub, claims] of Object.entries({
    a: { preferred_username: "hopper" },
    b: { preferred_username: "hopper@example.org" },
    // Looks like the name that is taken.
    c: { preferred_username: "hоpper" },
    d: { preferred_username: "guest-7", nickname: "", name: "Mary  Jane" },
    e: { preferred_username: "__proto__" },
    f: {},
    g: { name: "é".repeat(300) },
  }))
    names.push((await signIn({ sub: `name-${sub}`, ...claims })).username);
  assert.deepEqual(names.slice(0, 2), ["hopper-2", "hopper-3"]);
  assert.notEqual(names[2], "hоpper");
  assert.deepEqual(names.slice(3), ["mary jane", "user", "user-2", "é".repeat(24)]);
});

test("names that the ID token does not say are asked for, once", async () => {
  provider.hasUserinfoOnly = true;
  const { counts } = provider;
  const before = counts.userinfo;
  const user = await signIn({ sub: "shy", nickname: "Shy" });
  assert.equal(user.username, "shy");
  assert.equal((await signIn({ sub: "shy", nickname: "Shy" })).id, user.id);
  assert.equal(counts.userinfo, before + 1);
});

test("such an account has no password", async () => {
  const { token } = await signIn({ sub: "password", preferred_username: "keyless" });
  for (const password of ["", "correct horse battery"]) {
    const login = await call(server, "POST", "/auth/login", { body: { username: "keyless", password } });
    assert.equal(login.status, 401);
  }
  const body = { password: "", new_password: "correct horse battery" };
  const change = await call(server, "POST", "/auth/password", { token, body });
  assert.equal(change.status, 403);
  assert.match(change.body.error, /no password/);
});

test("a token that was given up does not come back with the cookie", async () => {
  provider.user = { sub: "revoked", preferred_username: "revoked" };
  const agent = new Agent();
  const { code, state } = await agent.depart();
  await agent.comeBack({ code, state });
  const kept = new Map(agent.cookies);
  const { token } = (await agent.session()).body.data;
  assert.equal((await agent.session()).status, 401, "the cookie is gone");
  await data(server, "DELETE", "/auth/logout", { token });
  agent.cookies = kept;
  assert.equal((await agent.session()).status, 401);
});

test("a browser comes back only with what it departed with", async () => {
  provider.user = { sub: "attacker", preferred_username: "mallory" };
  const victim = new Agent();
  const mallory = new Agent();
  const stolen = await mallory.depart();
  // Without having departed, and in a browser that departed itself.
  assert.deepEqual(await victim.comeBack(stolen), { sign_in_error: "expired" });
  const own = await victim.depart();
  assert.deepEqual(await victim.comeBack({ code: stolen.code, state: stolen.state }), { sign_in_error: "expired" });
  // A code of another departure does not fit the verifier.
  assert.deepEqual(await victim.comeBack({ code: stolen.code, state: own.state }), { sign_in_error: "failed" });
  // Each departure is good for one return.
  assert.deepEqual(await victim.comeBack({ code: own.code, state: own.state }), { sign_in_error: "expired" });
  for (const cookie of ["", "x", "%00", "A".repeat(4000)]) {
    victim.cookies.set("headcount_departure", cookie);
    victim.cookies.set("headcount_token", cookie);
    assert.deepEqual(await victim.comeBack(own), { sign_in_error: "expired" });
    assert.equal((await victim.session()).status, 401);
  }
  assert.deepEqual(await new Agent().comeBack({}), { sign_in_error: "expired" });
});

test("what the provider does wrong signs nobody in", async () => {
  const now = Math.floor(Date.now() / 1000);
  const claims = (changes) => ({ claims: (of) => ({ ...of, ...changes }) });
  for (const [what, faults] of Object.entries({
    "another nonce": claims({ nonce: "other" }),
    "no nonce": claims({ nonce: undefined }),
    "another audience": claims({ aud: "somebody" }),
    "another issuer": claims({ iss: "http://127.0.0.1:1" }),
    expired: claims({ exp: now - 3600, iat: now - 7200 }),
    "a long subject": claims({ sub: "s".repeat(256) }),
    "no subject": claims({ sub: undefined }),
    "another signature": { token: (signed) => `${signed}.${Buffer.alloc(256, 1).toString("base64url")}` },
    "no signature": { token: (signed) => `${json({ alg: "none" })}.${signed.split(".")[1]}.` },
    "no token": { answer: ({ id_token: _, ...answer }) => answer },
    "no JSON": { answer: () => "<html>" },
    "a long answer": { answer: (answer) => ({ ...answer, more: "x".repeat(1 << 20) }) },
  })) {
    provider.user = { sub: `wrong-${what}`, preferred_username: "wrong" };
    provider.faults = faults;
    const agent = new Agent();
    const { code, state } = await agent.depart();
    assert.deepEqual(await agent.comeBack({ code, state }), { sign_in_error: "failed" }, what);
    assert.equal((await agent.session()).status, 401, what);
  }
  provider.faults = {};
  assert.equal((await signIn({ sub: "right", preferred_username: "wrong" })).username, "wrong", "none was added");
});

test("a provider whose user says another subject than its token adds nobody", async () => {
  provider.hasUserinfoOnly = true;
  provider.faults.userinfo = { sub: "somebody", preferred_username: "root" };
  provider.user = { sub: "swapped" };
  const agent = new Agent();
  const { code, state } = await agent.depart();
  assert.deepEqual(await agent.comeBack({ code, state }), { sign_in_error: "failed" });
});

test("a provider may change its keys", async () => {
  const user = await signIn({ sub: "keys", preferred_username: "keys" });
  const { counts } = provider;
  const before = counts.discovery;
  provider.rotateKey();
  assert.equal((await signIn({ sub: "keys", preferred_username: "keys" })).id, user.id);
  assert.equal((await signIn({ sub: "keys", preferred_username: "keys" })).id, user.id);
  assert.equal(counts.discovery, before + 1);
});

test("a provider that is down, or lies about itself, is told of", async (t) => {
  const down = await startProvider();
  const lonely = await startServer({
    args: ["--public-url", "http://127.0.0.1/chat", "--oidc-issuer", down.url, "--oidc-client-id", "x"],
  });
  t.after(() => lonely.end());
  const login = async () => {
    const response = await fetch(`${lonely.url}/auth/oidc/login`, { redirect: "manual" });
    return response.headers.get("location");
  };
  const failed = "http://127.0.0.1/chat/?sign_in_error=failed";
  down.faults.discovery = (answer) => answer(200, { issuer: "http://127.0.0.1:1" });
  assert.equal(await login(), failed);
  down.faults.discovery = (answer) => answer(302, "", "text/plain");
  assert.equal(await login(), failed);
  down.faults.discovery = undefined;
  const there = new URL(await login());
  assert.equal(there.searchParams.get("redirect_uri"), "http://127.0.0.1/chat/auth/oidc/callback");
  await down.end();
  assert.match(lonely.output(), /no user can sign in at the provider/);
});

test("without a provider there is no way to one", async (t) => {
  const plain = await startServer();
  t.after(() => plain.end());
  assert.equal((await fetch(`${plain.url}/auth/oidc/login`)).status, 404);
  assert.equal((await fetch(`${plain.url}/auth/oidc/callback?code=1&state=2`)).status, 404);
  assert.equal((await call(plain, "POST", "/auth/oidc", { body: {} })).status, 404);
  assert.doesNotMatch(await (await fetch(plain.url)).text(), /Sign in with/);
});
