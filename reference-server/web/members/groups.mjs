// Where the groups of a list lie, computed from its counts. No page in here.

/** The groups that have rows, in order, each with the index of its first row: `{group, name, count, first, rows}`. */
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

/** The placed group that a row belongs to, or null. */
export function groupAt(placed, index) {
  return placed.find((entry) => index >= entry.first && index < entry.first + entry.rows) ?? null;
}

/**
 * By how many rows the rows on show have moved: the commonest difference between where they were (`before`, a map of
 * row key to index) and where `after` finds them now. 0 when none is left.
 */
export function commonShift(before, after) {
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

/** The key under which a row is recognised after it moved. */
export function rowKey(row) {
  return row.id === undefined ? `g:${row.group}` : `m:${row.id}`;
}

/** What a group is called on the page. */
export function groupTitle(group) {
  const text = group === "dnd" ? "do not disturb" : String(group);
  return text.charAt(0).toUpperCase() + text.slice(1);
}
