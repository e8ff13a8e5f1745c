// The package's main entry. What it exports: README.md and index.d.mts.

export { applyDelta, checksum, crc32, MalformedBundleError, MemberListClient } from "./client.mjs";
export { commonShift, groupAt, groupTitle, isHeaderKey, layOut, rowKey, shiftActive } from "./groups.mjs";
export { HEIGHT_MAX_PX, ScrollMap } from "./scroll-map.mjs";
export { CHUNK, WindowKeeper } from "./window-keeper.mjs";
