// The real Phoenix client against the running server.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { LongPoll } from "phoenix";
import { Presence as OldPresence, Socket as OldSocket } from "phoenix-1.7";
import WebSocket from "ws";
import { answer, call, Client, connect, data, event, guest, register, startServer, until } from "./support/server.mjs";

let server;
let ada;
let room;
const clients = [];

before(async () => {
  server = await startServer();
  ada = await register(server, "ada");
  room = await data(server, "POST", "/rooms", { token: ada.token, body: { name: "salon", description: "Talk" } });
});

after(async () => {
  for (const client of clients) client.close();
  await server.end();
});

async function arrive(who) {
  const client = new Client(server, who ?? (await guest(server)));
  clients.push(client);
  const joined = await client.join(`room:${room.id}`);
  return { client, user: client.user, ...joined };
}

const refs = (metas) => metas.map((meta) => meta.phx_ref);

test("a guest has a name, and the token names it", async () => {
  const { token, user } = await guest(server);
  assert.match(user.username, /^guest-/);
  const me = await data(server, "GET", "/auth/me", { token });
  assert.equal(me.id, user.id);
  assert.equal(me.username, user.username);
});

test("a join: the reply, the history, one presence_state that contains the joiner", async () => {
  const { log, reply, presence, user } = await arrive();
  assert.equal(reply.presence, "full");
  await event({ log }, "presence_state");
  await event({ log }, "message_history");
  const names = log.map((entry) => entry.event);
  assert.equal(names[0], "phx_reply");
  assert.equal(names.filter((name) => name === "presence_state").length, 1);
  await until("ourselves in the presence", () => presence.state[user.id]);
  assert.equal(new Set(refs(presence.state[user.id].metas)).size, presence.state[user.id].metas.length);
});

test("the others see a join in one presence_diff, and the leave in another", async () => {
  const here = await arrive();
  await event(here, "presence_state");
  const from = here.log.length;
  const visitor = await arrive();
  const { payload: came } = await event(here, "presence_diff", { from, where: ({ joins }) => joins[visitor.user.id] });
  assert.equal(came.joins[visitor.user.id].metas.length, 1);
  await until("the visitor in the presence", () => here.presence.state[visitor.user.id]);
  await answer(visitor.channel.leave());
  const { payload: went } = await event(here, "presence_diff", {
    from,
    where: ({ leaves }) => leaves[visitor.user.id],
  });
  assert.deepEqual(refs(went.leaves[visitor.user.id].metas), refs(came.joins[visitor.user.id].metas));
  await until("the visitor gone", () => !here.presence.state[visitor.user.id]);
});

test("a user in two tabs is one user with two metas", async () => {
  const here = await arrive();
  const who = await guest(server);
  const first = await arrive(who);
  const second = await arrive(who);
  await until("two metas", () => here.presence.state[who.user.id]?.metas.length === 2);
  second.client.close();
  await until("one meta", () => here.presence.state[who.user.id]?.metas.length === 1);
  first.client.close();
  await until("none", () => !here.presence.state[who.user.id]);
});

test("a message reaches a second client once, with its author and its number", async () => {
  const [speaker, listener] = [await arrive(), await arrive()];
  const content = 'Grüße, 你好, 👋🏽 <b>"quoted"</b>';
  await speaker.push("new_message", { content });
  const { payload } = await event(listener, "new_message", { where: (message) => message.content === content });
  assert.equal(payload.user.id, speaker.user.id);
  assert.equal(payload.user.username, speaker.user.username);
  assert.ok(Number.isInteger(payload.seq));
  assert.ok(Math.abs(Date.parse(payload.inserted_at) - Date.now()) < 60_000);
  await speaker.push("new_message", { content: "and another" });
  const { payload: next } = await event(listener, "new_message", {
    where: (message) => message.content === "and another",
  });
  assert.equal(next.seq, payload.seq + 1);
  assert.equal(listener.log.filter(({ payload: { id } }) => id === payload.id).length, 1);
  const page = await data(server, "GET", `/rooms/${room.id}/messages?limit=2`, { token: speaker.client.token });
  assert.deepEqual(
    page.map(({ id }) => id),
    [payload.id, next.id],
  );
});

test("a message posted by REST reaches the channel", async () => {
  const listener = await arrive();
  const posted = await data(server, "POST", `/rooms/${room.id}/messages`, {
    token: ada.token,
    body: { content: "by post" },
  });
  const { payload } = await event(listener, "new_message", { where: ({ id }) => id === posted.id });
  assert.equal(payload.user.username, "ada");
});

test("typing is sent to the others, with the sender's own name", async () => {
  const [writer, watcher] = [await arrive(), await arrive()];
  writer.channel.push("typing", { user_id: watcher.user.id, username: "forged" });
  const { payload } = await event(watcher, "typing");
  assert.equal(payload.user_id, writer.user.id);
  assert.equal(payload.username, writer.user.username);
  writer.channel.push("stop_typing", {});
  const { payload: stopped } = await event(watcher, "stop_typing");
  assert.equal(stopped.user_id, writer.user.id);
});

test("a message cannot be sent in another's name", async () => {
  const [writer, watcher] = [await arrive(), await arrive()];
  await writer.push("new_message", { content: "forged?", user_id: ada.user.id, user: ada.user });
  const { payload } = await event(watcher, "new_message", { where: ({ content }) => content === "forged?" });
  assert.equal(payload.user.id, writer.user.id);
});

test("empty and oversize messages are refused with a reason; the room works on", async () => {
  const { push } = await arrive();
  for (const content of ["", "   \n", "x".repeat(4001), 7, null]) {
    const refusal = await push("new_message", { content }).then(
      () => null,
      (error) => error.reply,
    );
    assert.ok(refusal, `accepted ${JSON.stringify(content)?.slice(0, 20)}`);
    assert.ok(refusal.reason || refusal.errors, JSON.stringify(refusal));
  }
  await push("new_message", { content: "x".repeat(4000) });
});

test("more than ten messages in five seconds are refused with a delay", async () => {
  const { push } = await arrive();
  const outcomes = [];
  for (let i = 0; i < 12; i += 1)
    outcomes.push(
      await push("new_message", { content: `message ${i}` }).then(
        () => "sent",
        (error) => error.reply,
      ),
    );
  assert.deepEqual(outcomes.slice(0, 10), Array(10).fill("sent"));
  assert.ok(outcomes[11].retry_after_ms > 0, JSON.stringify(outcomes[11]));
});

test("a dropped socket: the others see the leave and the join, the client rejoins and misses nothing", async () => {
  const [dropped, other] = [await arrive(), await arrive()];
  await until("each other", () => other.presence.state[dropped.user.id] && dropped.presence.state[other.user.id]);
  const from = other.log.length;
  const [before] = refs(other.presence.state[dropped.user.id].metas);
  const mark = dropped.log.length;
  dropped.client.socket.conn.terminate();
  await other.push("new_message", { content: "while you were away" });
  await event(dropped, "presence_state", { from: mark });
  const { payload } = await event(dropped, "message_history", { from: mark });
  const missed = () =>
    payload.messages
      .concat(dropped.log.map((entry) => entry.payload))
      .some(({ content }) => content === "while you were away");
  await until("the message sent meanwhile", missed);
  await event(other, "presence_diff", {
    from,
    where: ({ leaves }) => leaves[dropped.user.id]?.metas.some((meta) => meta.phx_ref === before),
  });
  await until("a new meta", () => other.presence.state[dropped.user.id]?.metas.some((meta) => meta.phx_ref !== before));
  await dropped.push("new_message", { content: "I am back" });
  await event(other, "new_message", { where: ({ content }) => content === "I am back" });
});

test("long polling carries the same: join, presence, messages both ways", async () => {
  const here = await arrive();
  const client = new Client(server, await guest(server), { transport: LongPoll });
  clients.push(client);
  const far = await client.join(`room:${room.id}`);
  await until("each other", () => here.presence.state[client.user.id] && far.presence.state[here.user.id]);
  await far.push("new_message", { content: "polled" });
  await event(here, "new_message", { where: ({ content }) => content === "polled" });
  await here.push("new_message", { content: "to the poller" });
  await event(far, "new_message", { where: ({ content }) => content === "to the poller" });
  await answer(far.channel.leave());
  await until("the poller gone", () => !here.presence.state[client.user.id]);
});

test("the client of Phoenix 1.7 works too, with its token in the query", async () => {
  const here = await arrive();
  const { token, user } = await guest(server);
  const socket = new OldSocket(`${server.url.replace("http", "ws")}/chat/socket`, {
    transport: WebSocket,
    params: { token },
  });
  clients.push({ close: () => socket.disconnect() });
  socket.connect();
  const channel = socket.channel(`room:${room.id}`, {});
  const presence = new OldPresence(channel);
  const heard = [];
  channel.on("new_message", (message) => heard.push(message.content));
  await answer(channel.join());
  await until(
    "both in the old client's presence",
    () => presence.list((id) => id).includes(user.id) && presence.list((id) => id).includes(here.user.id),
  );
  await until("the old client in the new one's presence", () => here.presence.state[user.id]);
  await answer(channel.push("new_message", { content: "from an old client" }));
  await event(here, "new_message", { where: ({ content }) => content === "from an old client" });
  await here.push("new_message", { content: "to an old client" });
  await until("the answer at the old client", () => heard.includes("to an old client"));
  await answer(channel.leave());
  await until("the old client gone", () => !here.presence.state[user.id]);
});

test("a wrong token is refused: 403 for the socket, 401 for REST", async () => {
  const url = `${server.url.replace("http", "ws")}/chat/socket/websocket?vsn=2.0.0&token=`;
  const forged = `${ada.token.slice(0, -4)}AAAA`;
  for (const token of ["", "nonsense", forged]) {
    const status = await new Promise((done) => {
      const socket = new WebSocket(url + token);
      socket.once("unexpected-response", (_, response) => done(response.statusCode));
      socket.once("open", () => done("open"));
      socket.once("error", () => {});
    });
    assert.equal(status, 403, `token ${token || "missing"}`);
    const { status: rest, body } = await call(server, "GET", "/auth/me", { token });
    assert.equal(rest, 401);
    assert.equal(typeof body.error, "string");
  }
  const socket = connect(server, "nonsense");
  await new Promise((failed) => socket.onError(failed));
  assert.equal(socket.isConnected(), false);
  socket.disconnect();
});

test("joins of unknown rooms and meaningless topics are refused", async () => {
  const client = new Client(server, await guest(server));
  clients.push(client);
  for (const topic of [
    "room:00000000-0000-7000-8000-000000000000",
    "room:'; drop table rooms;--",
    "kitchen",
    "room:",
  ]) {
    const channel = client.socket.channel(topic, {});
    const refusal = await answer(channel.join()).then(
      () => null,
      (error) => error.reply,
    );
    assert.equal(typeof refusal?.reason, "string", topic);
    channel.leave();
  }
  assert.ok(client.socket.isConnected());
});

test("history pages backwards to the first message and forwards from a number", async () => {
  const token = ada.token;
  const all = await data(server, "GET", `/rooms/${room.id}/messages?limit=100`, { token });
  assert.ok(all.length > 10);
  const collected = [];
  for (let before = null; ;) {
    const page = await data(
      server,
      "GET",
      `/rooms/${room.id}/messages?limit=7${before ? `&before_id=${before}` : ""}`,
      { token },
    );
    collected.unshift(...page);
    if (page.length < 7) break;
    before = page[0].id;
  }
  assert.deepEqual(
    collected.map(({ seq }) => seq),
    collected.map((_, i) => i + 1),
  );
  const rest = await data(server, "GET", `/rooms/${room.id}/messages?after_seq=3&limit=5`, { token });
  assert.deepEqual(
    rest.map(({ seq }) => seq),
    [4, 5, 6, 7, 8],
  );
});

test("malformed frames end that socket alone", async () => {
  const { push } = await arrive();
  const { token } = await guest(server);
  for (const frame of ["{", "[]", "[1,2,3]", '["1","1","room:x","phx_join"]', "\u0000", "[null,null,null,null,null]"]) {
    const code = await new Promise((done) => {
      const socket = new WebSocket(
        `${server.url.replace("http", "ws")}/chat/socket/websocket?vsn=2.0.0&token=${token}`,
      );
      socket.once("open", () => socket.send(frame));
      socket.once("close", done);
      socket.once("error", () => {});
    });
    assert.equal(code, 1011, frame);
  }
  await push("new_message", { content: "still here" });
  assert.ok(server.isRunning());
});
