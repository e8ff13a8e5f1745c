// The REST side: envelopes in, values or ApiError out.

/** A refused or failed request. `fields` holds the messages of a validation error by field. */
export class ApiError extends Error {
  constructor(message, { status = 0, fields = {}, retryAfterMs = null } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.fields = fields;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Requests against one server, as the holder of `token` (a function, so that signing in takes effect at once). */
export class Api {
  constructor({ base = "/api/v1", token = () => null, tenant = null, fetch = globalThis.fetch.bind(globalThis) } = {}) {
    this.base = base;
    this.token = token;
    this.tenant = tenant;
    this.fetch = fetch;
  }

  register(username, password) {
    return this.#send("POST", "/auth/register", { username, password });
  }

  login(username, password) {
    return this.#send("POST", "/auth/login", { username, password });
  }

  guest() {
    return this.#send("POST", "/auth/guest", {});
  }

  /** The session with which this browser came back from the provider. */
  oidc() {
    return this.#send("POST", "/auth/oidc", {});
  }

  logout() {
    return this.#send("DELETE", "/auth/logout");
  }

  me() {
    return this.#send("GET", "/auth/me");
  }

  /** The default one is the first. */
  servers(page) {
    return this.#send("GET", `/servers?${pageQuery(page)}`);
  }

  createServer(name) {
    return this.#send("POST", "/servers", { name });
  }

  categories(serverId) {
    return this.#send("GET", `/servers/${encodeURIComponent(serverId)}/categories`);
  }

  createCategory(serverId, name) {
    return this.#send("POST", `/servers/${encodeURIComponent(serverId)}/categories`, { name });
  }

  /** A page of the rooms of a server, oldest first: those after the one of this id. */
  rooms(serverId, page) {
    return this.#send("GET", `/servers/${encodeURIComponent(serverId)}/rooms?${pageQuery(page)}`);
  }

  /** A page of the rooms of all servers of which the user is a member, oldest first. */
  joinedRooms(page) {
    return this.#send("GET", `/rooms/joined?${pageQuery(page)}`);
  }

  room(id) {
    return this.#send("GET", `/rooms/${encodeURIComponent(id)}`);
  }

  /** Returns whether the server answers at all, also while it refuses sockets. */
  async isUp() {
    try {
      return (await this.fetch("/healthz", { cache: "no-store" })).ok;
    } catch {
      return false;
    }
  }

  /** Creates a room: on the default server all users do, on another one its owner. */
  createRoom(server, name, { description = "", isPrivate = false, categoryId = null } = {}) {
    const path = server.is_default ? "/rooms" : `/servers/${encodeURIComponent(server.id)}/rooms`;
    return this.#send("POST", path, { name, description, private: isPrivate, category_id: categoryId });
  }

  /** The roles of a server, the highest first. */
  roles(serverId) {
    return this.#send("GET", rolesPath(serverId));
  }

  /** Creates a role below all others: `{name, colour, hoisted}`. */
  createRole(serverId, content) {
    return this.#send("POST", rolesPath(serverId), content);
  }

  editRole({ id, server_id: serverId }, content) {
    return this.#send("PATCH", `${rolesPath(serverId)}/${encodeURIComponent(id)}`, content);
  }

  deleteRole({ id, server_id: serverId }) {
    return this.#send("DELETE", `${rolesPath(serverId)}/${encodeURIComponent(id)}`);
  }

  /** Orders all roles of a server, the highest first. Returns them. */
  orderRoles(serverId, roleIds) {
    return this.#send("PUT", rolesPath(serverId), { role_ids: roleIds });
  }

  /** The roles of a server that a user has. */
  rolesOf(serverId, userId) {
    return this.#send("GET", rolesPath(serverId, userId));
  }

  /** Gives a role to a user, or takes it. Returns the roles that the user then has. */
  setRole({ id, server_id: serverId }, userId, isGiven) {
    const path = `${rolesPath(serverId, userId)}/${encodeURIComponent(id)}`;
    return this.#send(isGiven ? "PUT" : "DELETE", path);
  }

  /** The roles to which a room is limited. */
  rolesOfRoom(id) {
    return this.#send("GET", `/rooms/${encodeURIComponent(id)}/roles`);
  }

  /** Limits a room to the users with one of these roles; none opens it. Returns the room. */
  limitRoom(id, roleIds) {
    return this.#send("PUT", `/rooms/${encodeURIComponent(id)}/roles`, { role_ids: roleIds });
  }

  joinRoom(id) {
    return this.#send("POST", `/rooms/${encodeURIComponent(id)}/join`, {});
  }

  /** Notes that the user has read a room, or a conversation, up to this sequence number. */
  markRead(id, seq) {
    return this.#send("PUT", `/rooms/${encodeURIComponent(id)}/read`, { seq });
  }

  /** The user's conversations, those with the newest messages first. */
  dms() {
    return this.#send("GET", "/dm");
  }

  /** Returns the conversation with a user, which begins if there was none. */
  openDm(userId) {
    return this.#send("POST", "/dm", { user_id: userId });
  }

  invites() {
    return this.#send("GET", "/invites");
  }

  invite(roomId, userId) {
    return this.#send("POST", `/rooms/${encodeURIComponent(roomId)}/invites`, { user_id: userId });
  }

  /** Answers an invitation: "accept" or "decline". */
  answerInvite(roomId, answer) {
    return this.#send("POST", `/invites/${encodeURIComponent(roomId)}/${answer}`, {});
  }

  /** Returns the registered user of this name, or null. */
  async userNamed(name) {
    const [user] = (await this.#send("GET", `/users?${new URLSearchParams({ name })}`)) ?? [];
    return user ?? null;
  }

  changePassword(password, newPassword) {
    return this.#send("POST", "/auth/password", { password, new_password: newPassword });
  }

  /** A page of messages, oldest first: before a message, or after a sequence number. */
  messages({ id, kind }, { limit = 50, beforeId = null, afterSeq = null } = {}) {
    const query = new URLSearchParams({ limit: String(limit) });
    if (beforeId !== null) query.set("before_id", beforeId);
    if (afterSeq !== null) query.set("after_seq", String(afterSeq));
    const path = kind === "dm" ? "dm" : "rooms";
    return this.#send("GET", `/${path}/${encodeURIComponent(id)}/messages?${query}`);
  }

  async #send(method, path, body) {
    const headers = { accept: "application/json" };
    const token = this.token();
    if (token) headers.authorization = `Bearer ${token}`;
    if (this.tenant) headers["x-tenant"] = this.tenant;
    if (body !== undefined) headers["content-type"] = "application/json";
    let response;
    try {
      response = await this.fetch(this.base + path, { method, headers, body: body && JSON.stringify(body) });
    } catch {
      throw new ApiError("The server cannot be reached. Check your connection and try again.");
    }
    const answer = await response.json().catch(() => null);
    if (response.ok) return answer?.data ?? null;
    throw refusal(response, answer);
  }
}

function pageQuery({ limit = 100, after = null } = {}) {
  const query = new URLSearchParams({ limit: String(limit) });
  if (after !== null) query.set("after", after);
  return query;
}

function rolesPath(serverId, userId = null) {
  const of = userId === null ? "" : `/members/${encodeURIComponent(userId)}`;
  return `/servers/${encodeURIComponent(serverId)}${of}/roles`;
}

function refusal(response, answer) {
  const fields = answer?.errors && typeof answer.errors === "object" ? answer.errors : {};
  const listed = Object.entries(fields).map(([field, messages]) => `${label(field)} ${[messages].flat().join(", ")}`);
  const retryAfterMs = Number(answer?.retry_after_ms ?? Number(response.headers.get("retry-after")) * 1000) || null;
  let message = answer?.error ?? listed.join("; ");
  if (!message)
    message =
      response.status >= 500
        ? "The server had a problem. Try again in a moment."
        : `The server refused (${response.status}).`;
  return new ApiError(sentence(message), { status: response.status, fields, retryAfterMs });
}

function label(field) {
  return field === "username" ? "name" : field;
}

/** "rate limit reached" -> "Rate limit reached." */
export function sentence(text) {
  const trimmed = String(text).trim();
  const upper = trimmed.charAt(0).toUpperCase() + trimmed.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}
