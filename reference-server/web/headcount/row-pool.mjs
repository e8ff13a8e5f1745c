// Recycled elements for the rows of a VirtualList.

/**
 * Draws what `VirtualList.read` returns into `container`. `create(number)` makes a row of the page: `{element, show,
 * hide}`. `show({index, top, row, group, total})` is called at every drawing, so it should change only what differs.
 */
export class RowPool {
  #pool = [];

  constructor(container, create) {
    this.container = container;
    this.create = create;
  }

  /** Draws rows, and adds elements for as many as there never were. O(rows drawn). */
  draw({ rows, from, total, rowHeight }) {
    while (this.#pool.length < rows.length) {
      const slot = this.create(this.#pool.length);
      this.#pool.push(slot);
      this.container.append(slot.element);
    }
    this.container.style.top = `${rows[0]?.top ?? 0}px`;
    const size = this.#pool.length;
    this.#pool.forEach((slot, number) => {
      // An element keeps the rows whose index leaves the same remainder, so that scrolling by one row redraws one row.
      const place = (((number - from) % size) + size) % size;
      if (place >= rows.length) return slot.hide();
      return slot.show({ ...rows[place], top: place * rowHeight, total });
    });
  }
}
