// Scroll arithmetic of a list that may be taller than a browser can lay out. It does not touch the page.

/** Beyond this height (Firefox fails near 17.8 million pixels) a scrollbar pixel is more than one of the list. */
export const HEIGHT_MAX_PX = 15_000_000;

/** A move of more than this many views at once is a jump (scrollbar, Home, End), not scrolling. */
const JUMP_VIEWS = 4;

/**
 * Keeps `offset`, the distance in pixels from the top of row 0 to the top of the view, apart from the element's
 * `scrollTop`. Short moves shift the offset pixel by pixel; jumps land in proportion. Rows that come or go above the
 * view shift the offset and leave `scrollTop` to `settle`, so that visible rows do not move.
 */
export class ScrollMap {
  constructor(rowHeight, heightMax = HEIGHT_MAX_PX) {
    this.rowHeight = rowHeight;
    this.heightMax = heightMax;
    this.rows = 0;
    this.viewHeight = 1;
    this.offset = 0;
    this.scrollTop = 0;
  }

  /** Returns the height of the scrolled element. */
  get height() {
    return Math.min(this.rows * this.rowHeight, this.heightMax);
  }

  get offsetMax() {
    return Math.max(0, this.rows * this.rowHeight - this.viewHeight);
  }

  get scrollMax() {
    return Math.max(0, this.height - this.viewHeight);
  }

  /** Returns the first row that is at least partly in view, and the row after the last. */
  get visible() {
    const first = Math.floor(this.offset / this.rowHeight);
    const end = Math.ceil((this.offset + this.viewHeight) / this.rowHeight);
    return [Math.min(first, this.rows), Math.min(end, this.rows)];
  }

  resize(rows, viewHeight) {
    this.rows = rows;
    this.viewHeight = viewHeight;
    this.offset = clamp(this.offset, this.offsetMax);
    this.scrollTop = clamp(this.scrollTop, this.scrollMax);
  }

  /** Notes that the element was scrolled to `scrollTop`. Returns whether that was a jump. */
  scrolled(scrollTop) {
    const by = scrollTop - this.scrollTop;
    this.scrollTop = scrollTop;
    const jump = Math.abs(by) > JUMP_VIEWS * this.viewHeight;
    if (!jump) this.offset = clamp(this.offset + by, this.offsetMax);
    else if (scrollTop >= this.scrollMax - 1) this.offset = this.offsetMax;
    else this.offset = this.#proportional(scrollTop);
    return jump;
  }

  /** Returns whether the element is at an end that the list is not at: scrolling needs `settle`. */
  get isStuck() {
    const { scrollTop, scrollMax, offset, offsetMax } = this;
    return (scrollTop <= 0 && offset > 0) || (scrollTop >= scrollMax - 1 && offset < offsetMax);
  }

  /** Notes rows added (positive) or removed above the view. */
  shift(rows) {
    this.offset = clamp(this.offset + rows * this.rowHeight, this.offsetMax);
  }

  /** Puts a row at the top of the view. */
  goTo(row) {
    this.offset = clamp(row * this.rowHeight, this.offsetMax);
    return this.settle();
  }

  /** Moves as little as it takes to bring a whole row into view; `top` pixels at the top are covered. */
  reveal(row, top = 0) {
    const start = row * this.rowHeight;
    if (start - top < this.offset) this.offset = clamp(start - top, this.offsetMax);
    else if (start + this.rowHeight > this.offset + this.viewHeight) {
      this.offset = clamp(start + this.rowHeight - this.viewHeight, this.offsetMax);
    }
    return this.settle();
  }

  /** Returns the `scrollTop` for the offset, to be set on the element while it is not being scrolled. */
  settle() {
    const { offset, offsetMax, scrollMax } = this;
    this.scrollTop = offsetMax === scrollMax ? offset : (offset / offsetMax) * scrollMax;
    // Away from the ends there must be room to scroll further.
    if (offset > 0 && offset < offsetMax) this.scrollTop = Math.min(Math.max(this.scrollTop, 2), scrollMax - 2);
    return this.scrollTop;
  }

  /** Returns the position of a row in the scrolled element now. */
  layoutTop(row) {
    return row * this.rowHeight - this.offset + this.scrollTop;
  }

  #proportional(scrollTop) {
    return clamp((scrollTop / this.scrollMax) * this.offsetMax, this.offsetMax);
  }
}

function clamp(value, max) {
  return Math.min(Math.max(value, 0), max);
}
