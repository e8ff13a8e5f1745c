// The items of a list that is fetched whole and changed by events in between.

// The numbers of messages only rise.
const RISING = ["last_seq", "read_seq"];
const PAGE = 100;
const PAGES_MAX = 20;

/** Reads the first two thousand items of a listing; `read({ limit, after })` fetches a page of them. */
export async function readPages(read) {
  const items = [];
  for (let page = 1; page <= PAGES_MAX && items.length === (page - 1) * PAGE; page += 1)
    items.push(...((await read({ limit: PAGE, after: items.at(-1)?.id ?? null })) ?? []));
  return items;
}

/**
 * Items that `key` names. The answer to a fetch may be older than events that came while it was under way, so these are
 * applied to it again.
 */
export class Listing {
  #items = [];
  /** For each fetch that is under way, in the order in which they began, the changes since then. */
  #fetches = new Set();

  constructor(key = "id") {
    this.key = key;
  }

  /** The items, in order. */
  get items() {
    return this.#items;
  }

  find(id) {
    return this.#items.find((item) => item[this.key] === id) ?? null;
  }

  /** Takes up the items that `ask` resolves to. Returns whether it did: not if a fetch that began later was faster. */
  async fetch(ask) {
    const changes = [];
    this.#fetches.add(changes);
    try {
      const fetched = (await ask()) ?? [];
      if (!this.#fetches.has(changes)) return false;
      const items = fetched.map((item) => risen(item, this.find(item[this.key])));
      this.#items = changes.reduce((all, change) => change(all), items);
      const begun = [...this.#fetches];
      for (const older of begun.slice(0, begun.indexOf(changes))) this.#fetches.delete(older);
      return true;
    } finally {
      this.#fetches.delete(changes);
    }
  }

  /** Adds an item at the end, or changes the fields of the listed one. */
  add(item) {
    const id = item[this.key];
    this.#apply((items) => {
      if (!items.some((other) => other[this.key] === id)) return [...items, item];
      return items.map((other) => (other[this.key] === id ? { ...other, ...item } : other));
    });
  }

  /** Adds an item at the front, in place of the listed one. */
  addFirst(item) {
    this.#apply((items) => [item, ...items.filter((other) => other[this.key] !== item[this.key])]);
  }

  remove(id) {
    this.#apply((items) => items.filter((item) => item[this.key] !== id));
  }

  /** Changes fields of an item. Returns whether it is listed. */
  note(id, fields) {
    this.#apply((items) => items.map((item) => (item[this.key] === id ? { ...item, ...fields } : item)));
    return this.find(id) !== null;
  }

  /** Removes all items, and drops the answers to fetches that are under way. */
  clear() {
    this.#items = [];
    this.#fetches.clear();
  }

  #apply(change) {
    this.#items = change(this.#items);
    for (const changes of this.#fetches) changes.push(change);
  }
}

function risen(item, known) {
  const higher = RISING.filter((name) => known?.[name] > item[name]);
  return { ...item, ...Object.fromEntries(higher.map((name) => [name, known[name]])) };
}
