// A site with a backend of its own: its page calls /api/chat/* there, and the backend passes that on to the chat
// server, with the token of the visitor. The token stays in a cookie that no script reads.
//
//   CHAT_URL=http://127.0.0.1:4000 PORT=8080 node backend.mjs

import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const CHAT = new URL(process.env.CHAT_URL ?? "http://127.0.0.1:4000");
const PORT = Number(process.env.PORT ?? 8080);
const PREFIX = "/api/chat/";
const BODY_BYTES_MAX = 64 * 1024;
const PAGE = readFileSync(new URL("page.html", import.meta.url));
const SCRIPT = readFileSync(new URL("page.mjs", import.meta.url));
// What the page needs; the rest of the API is closed to it.
const ALLOWED = [/^GET rooms$/, /^(GET|POST) rooms\/[0-9a-f-]{36}\/messages$/, /^POST rooms\/[0-9a-f-]{36}\/join$/];

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error.message);
    answer(response, 502, { error: "the chat cannot be reached" });
  });
});

async function handle(request, response) {
  const url = new URL(request.url, "http://site");
  if (url.pathname === "/") return send(response, 200, "text/html; charset=utf-8", PAGE);
  if (url.pathname === "/page.mjs") return send(response, 200, "text/javascript; charset=utf-8", SCRIPT);
  if (!url.pathname.startsWith(PREFIX)) return answer(response, 404, { error: "no such page" });
  const path = url.pathname.slice(PREFIX.length);
  if (request.method === "POST" && path === "session") return open(response);
  if (!ALLOWED.some((rule) => rule.test(`${request.method} ${path}`)))
    return answer(response, 404, { error: "no such resource" });
  const token = request.headers.cookie?.match(/(?:^|; )chat=([^;]+)/)?.[1];
  if (!token) return answer(response, 401, { error: "no session" });
  return pass(request, response, `${path}${url.search}`, token);
}

// A visitor comes in as a guest. A site with users of its own signs their tokens instead, with the secret of the chat
// server: {sub: <uuid>, name, guest: true, tenant, exp}.
async function open(response) {
  const { status, text } = await call("POST", "auth/guest");
  if (status !== 201) return send(response, status, "application/json", text);
  const { token, user } = JSON.parse(text).data;
  response.setHeader("set-cookie", `chat=${token}; HttpOnly; SameSite=Strict; Path=${PREFIX}`);
  return answer(response, 201, { data: { user } });
}

async function pass(request, response, path, token) {
  const body = await read(request);
  if (body === null) return answer(response, 413, { error: "the body is too long" });
  const { status, text } = await call(request.method, path, { token, body, type: request.headers["content-type"] });
  return send(response, status, "application/json", text);
}

async function call(method, path, { token, body, type } = {}) {
  const headers = { ...(token && { authorization: `Bearer ${token}` }), ...(type && { "content-type": type }) };
  const url = new URL(`/api/v1/${path}`, CHAT);
  const answered = await fetch(url, { method, headers, body: body?.length ? body : undefined });
  return { status: answered.status, text: await answered.text() };
}

// Returns the body of a request, or null if it is too long.
async function read(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > BODY_BYTES_MAX) return null;
    parts.push(part);
  }
  return Buffer.concat(parts);
}

function answer(response, status, value) {
  send(response, status, "application/json", JSON.stringify(value));
}

function send(response, status, type, body) {
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}

server.listen(PORT, "127.0.0.1", () => console.log(`the site is on http://127.0.0.1:${server.address().port}`));
