// Scroll arithmetic of a list that may be taller than a browser can lay out. No page in here.

/** Beyond this height (Firefox gives up near 17.8 million pixels) a pixel of the scrollbar stands for more than one. */
export const HEIGHT_MAX_PX = 15_000_000;

/** A move of more than this many views at once is a jump (scrollbar, Home, End), not scrolling. */
const JUMP_VIEWS = 4;

/**
 * Keeps `offset`, the distance in pixels from the top of row 0 to the top of the view, apart from the element's
 * `scrollTop`. Short moves shift the offset pixel by pixel; jumps land in proportion. Rows that come or go above the
 * view shift the offset and leave `scrollTop` to `settle`, so that what is on show does not move.
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

  /** Height of the element that is scrolled. */
  get height() {
    return Math.min(this.rows * this.rowHeight, this.heightMax);
  }

  get offsetMax() {
    return Math.max(0, this.rows * this.rowHeight - this.viewHeight);
  }

  get scrollMax() {
    return Math.max(0, this.height - this.viewHeight);
  }

  /** First row that is at least partly in view, and the row after the last. */
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

  /** The element was scrolled to `scrollTop`; says whether that was a jump. */
  scrolled(scrollTop) {
    const by = scrollTop - this.scrollTop;
    this.scrollTop = scrollTop;
    const jump = Math.abs(by) > JUMP_VIEWS * this.viewHeight;
    if (!jump) this.offset = clamp(this.offset + by, this.offsetMax);
    else if (scrollTop >= this.scrollMax - 1) this.offset = this.offsetMax;
    else this.offset = this.#proportional(scrollTop);
    return jump;
  }

  /** The element is at an end that the list is not at: without `settle` one could not scroll on. */
  get isStuck() {
    const { scrollTop, scrollMax, offset, offsetMax } = this;
    return (scrollTop <= 0 && offset > 0) || (scrollTop >= scrollMax - 1 && offset < offsetMax);
  }

  /** Rows came (positive) or went above the view. */
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

  /** The `scrollTop` that stands for the offset; call it when nobody is scrolling, and set it on the element. */
  settle() {
    const { offset, offsetMax, scrollMax } = this;
    this.scrollTop = offsetMax === scrollMax ? offset : (offset / offsetMax) * scrollMax;
    // Off the ends there must be room to scroll on.
    if (offset > 0 && offset < offsetMax) this.scrollTop = Math.min(Math.max(this.scrollTop, 2), scrollMax - 2);
    return this.scrollTop;
  }

  /** Where a row is laid out in the scrolled element just now. */
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
