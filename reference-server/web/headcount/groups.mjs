// The positions of the groups of a list, computed from its counts. It does not touch the page.

/** Returns the groups with rows, in order, with the index of their first rows: `{group, name, count, first, rows}`. */
export function layOut(counts) {
  const placed = [];
  let first = 0;
  for (const entry of counts?.groups ?? []) {
    const header = counts.headers === false ? 0 : 1;
    const rows = entry.hidden || entry.count === 0 ? 0 : entry.collapsed ? header : entry.count + header;
    if (rows > 0) placed.push({ group: entry.group, name: groupTitle(entry.group), count: entry.count, first, rows });
    first += rows;
  }
  return placed;
}

/** Returns the placed group of a row, or null. */
export function groupAt(placed, index) {
  return placed.find((entry) => index >= entry.first && index < entry.first + entry.rows) ?? null;
}

/**
 * Returns by how many rows the visible rows have moved: the commonest difference between their old index (`before`, a
 * map of row key to index) and the index that `after` returns now. 0 if none is left. A header on top decides alone,
 * also while its place is not known: it moves with the rows above it and no others.
 */
export function commonShift(before, after) {
  const [top, at] = [...before].sort(([, a], [, b]) => a - b)[0] ?? [];
  if (isHeaderKey(top)) return (after.get(top) ?? at) - at;
  const votes = new Map();
  for (const [key, index] of before) {
    const now = after.get(key);
    if (now !== undefined) votes.set(now - index, (votes.get(now - index) ?? 0) + 1);
  }
  let best = 0;
  let most = 0;
  for (const [shift, count] of votes) {
    if (count > most || (count === most && Math.abs(shift) < Math.abs(best))) {
      best = shift;
      most = count;
    }
  }
  return best;
}

/**
 * Returns the index of the active row after such a shift. A header stays the active one; a member that went or moved is
 * followed by the next row that stayed.
 */
export function shiftActive(active, before, after, shift) {
  const rows = [...before].filter(([, index]) => index >= active).sort(([, a], [, b]) => a - b);
  const [key, at] = rows[0] ?? [];
  if (at === active && isHeaderKey(key)) return after.get(key) ?? active;
  const stays = at === active && rows.find(([other, index]) => after.get(other) === index + shift);
  return (stays ? stays[1] : active) + shift;
}

/** Returns the key by which a row is recognised after it moved. */
export function rowKey(row) {
  return row.id === undefined ? `g:${row.group}` : `m:${row.id}`;
}

/** Returns whether a key (see `rowKey`) is that of a header. */
export function isHeaderKey(key) {
  return key?.startsWith("g:") ?? false;
}

/** Returns the name of a group on the page. */
export function groupTitle(group) {
  const text = group === "dnd" ? "do not disturb" : String(group);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
