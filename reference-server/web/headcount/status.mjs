// The statuses of users, as rosters name them.

/** Every status. A session states one of the first four; `offline` is that of a user without sessions. */
export const STATUSES = Object.freeze(["online", "idle", "dnd", "invisible", "offline"]);

/** Returns whether a value names a status. */
export function isStatus(value) {
  return STATUSES.includes(value);
}

/** Returns the status that others see: `offline` for `invisible`. */
export function outward(status) {
  return status === "invisible" ? "offline" : status;
}
