// The React hook.

import { useEffect, useMemo, useRef, useSyncExternalStore } from "react";
import { ListStore } from "./list-store.mjs";

/**
 * Shows the member list of a Phoenix channel, or of `topic` on a Phoenix socket, around the scroll position of an
 * element. A channel is joined and left by its owner; on a socket the hook joins one, with `params`, and leaves it when
 * the component is unmounted. With `null` in place of either there is no list yet.
 */
export function useMemberList(source, { topic, params, rowHeight, overscan } = {}) {
  const store = useMemo(() => new ListStore({ rowHeight, overscan }), [rowHeight, overscan]);
  const latest = useRef(params);
  useEffect(() => {
    latest.current = params;
  });
  useEffect(() => store.connect(source, topic, () => latest.current ?? {}), [store, source, topic]);
  return useSyncExternalStore(store.subscribe, store.snapshot, store.snapshot);
}
