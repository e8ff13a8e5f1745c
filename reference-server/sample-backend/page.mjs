// The comments of the sample site: read and written through the site's own backend.

const EVERY_MS = 2000;
const list = document.getElementById("comments");
const error = document.getElementById("error");
let room = null;
let seq = 0;

async function call(method, path, body) {
  const response = await fetch(`/api/chat/${path}`, {
    method,
    headers: body ? { "content-type": "application/json" } : {},
    body: body && JSON.stringify(body),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? JSON.stringify(answer.errors));
  return answer.data;
}

async function show() {
  for (const message of await call("GET", `rooms/${room.id}/messages?after_seq=${seq}&limit=100`)) {
    if (message.seq <= seq) continue;
    seq = message.seq;
    const item = document.createElement("li");
    item.textContent = `${message.user.username}: ${message.content}`;
    list.append(item);
  }
}

async function attempt(work) {
  try {
    await work();
    error.hidden = true;
  } catch (failure) {
    error.textContent = failure.message;
    error.hidden = false;
  }
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = document.getElementById("text");
  attempt(async () => {
    await call("POST", `rooms/${room.id}/messages`, { content: input.value });
    input.value = "";
    await show();
  });
});

await attempt(async () => {
  const { user } = await call("POST", "session");
  document.getElementById("name").textContent = user.username;
  room = (await call("GET", "rooms")).find(({ name }) => name === "lobby");
  await show();
  setInterval(() => attempt(show), EVERY_MS);
});
