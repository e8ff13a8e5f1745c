// Lists whose server is a function of the tests.

import { ListSession } from "../../../web/headcount/list-session.mjs";
import { VirtualList } from "../../../web/headcount/virtual-list.mjs";

/** Lets the promises that are settled call back. */
export const settle = () => new Promise((done) => setImmediate(done));

/** Opens the list of `server`, to whose method `request` all requests go; `seen` has what was told of it. */
export function open(server) {
  const list = new VirtualList({ drawNow: () => {} });
  const seen = { changes: 0, errors: [] };
  const session = new ListSession({
    request: server.request,
    view: list,
    changed: () => {
      seen.changes += 1;
      list.changed();
    },
    failed: (error) => seen.errors.push(error),
  });
  session.joined();
  return { list, session, seen };
}
