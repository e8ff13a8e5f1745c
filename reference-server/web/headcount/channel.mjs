// A member list on a channel of the npm package `phoenix` (1.7 or newer).

/** The error for a request that was refused or not answered. `retryAfterMs` is null unless it was only too early. */
export class RequestError extends Error {
  name = "RequestError";

  constructor(reason, retryAfterMs = null) {
    super(reason === "timeout" ? "the server did not answer" : reason);
    this.reason = reason;
    this.retryAfterMs = retryAfterMs;
  }
}

/** Returns the error that a reply `{reason, retry_after_ms?}` states. */
export function refusal(reply) {
  return new RequestError(String(reply?.reason ?? "refused"), Number(reply?.retry_after_ms) || null);
}

/** Pushes on a channel. The promise resolves to the answer, and rejects with a `RequestError`. */
export function request(channel, verb, payload) {
  return new Promise((resolve, reject) => {
    channel
      .push(verb, payload)
      .receive("ok", resolve)
      .receive("error", (reply) => reject(refusal(reply)))
      .receive("timeout", () => reject(new RequestError("timeout")));
  });
}

/** Watchers of the joins of each channel that were not answered: a Push cannot be told to forget a callback. */
const unanswered = new WeakMap();

/**
 * Calls `joined()` now if the channel is joined, and whenever it joins again, `bundle(bundle)` for every bundle,
 * `refused(error)` when a join is refused and `lost()` when the channel fails or closes. Returns a function that ends
 * this.
 */
export function watchChannel(channel, watcher) {
  const { bundle, joined, lost, refused } = watcher;
  const answered = ({ status, response }, ref, joinRef) => {
    if (ref !== joinRef) return;
    if (status === "ok") joined();
    else refused(refusal(response));
  };
  const events = { member_list: bundle, phx_reply: answered, phx_error: lost, phx_close: lost };
  const bound = Object.entries(events).map(([event, callback]) => [event, channel.on(event, callback)]);
  const watchers = unanswered.get(channel) ?? watchTimeouts(channel);
  watchers.add(watcher);
  if (channel.state === "joined") joined();
  return () => {
    watchers.delete(watcher);
    for (const [event, ref] of bound) channel.off(event, ref);
  };
}

function watchTimeouts(channel) {
  const watchers = new Set();
  const tell = () => watchers.forEach((watcher) => watcher.refused(new RequestError("timeout")));
  channel.joinPush?.receive("timeout", tell);
  unanswered.set(channel, watchers);
  return watchers;
}
