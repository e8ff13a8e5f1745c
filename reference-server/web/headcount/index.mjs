// The package's main entry. What it exports: README.md and index.d.mts.

export { RequestError, request, watchChannel } from "./channel.mjs";
export { applyDelta, checksum, crc32, MalformedBundleError, MemberListClient } from "./client.mjs";
export { commonShift, groupAt, groupTitle, isHeaderKey, layOut, rowKey, shiftActive } from "./groups.mjs";
export { SEARCH_ROWS } from "./list-search.mjs";
export { ListSession, pauseWhileHidden } from "./list-session.mjs";
export { ListStore } from "./list-store.mjs";
export { RowPool } from "./row-pool.mjs";
export { HEIGHT_MAX_PX, ScrollMap } from "./scroll-map.mjs";
export { isStatus, outward, STATUSES } from "./status.mjs";
export { VirtualList } from "./virtual-list.mjs";
export { CHUNK, WindowKeeper } from "./window-keeper.mjs";
