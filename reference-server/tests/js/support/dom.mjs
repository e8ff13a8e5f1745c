// A document without layout: elements are as high as their style states, and are scrolled by `scrollTo`.

import { JSDOM } from "jsdom";

const GLOBALS = [
  ...["window", "document", "location", "history", "navigator", "Node", "Element", "DocumentFragment", "DOMParser"],
  ...["MutationObserver", "Event", "CustomEvent", "KeyboardEvent", "requestAnimationFrame", "cancelAnimationFrame"],
];

/** Observers of sizes, by element: there is no layout, so `resize` calls them. */
const observers = new Map();

class StubResizeObserver {
  constructor(callback) {
    this.callback = callback;
  }

  observe(element) {
    observers.set(element, this.callback);
    this.element = element;
  }

  disconnect() {
    observers.delete(this.element);
  }
}

/** Makes a document the global one; for the whole process, since clients keep what they find at their import. */
export function openDocument() {
  const html = `<!doctype html><html><head><meta name="csrf-token" content="t"></head><body></body></html>`;
  const { window } = new JSDOM(html, { pretendToBeVisual: true, url: "http://127.0.0.1/" });
  Object.defineProperty(window.HTMLElement.prototype, "clientHeight", {
    get() {
      return Number.parseFloat(this.style.height) || 0;
    },
  });
  const classes = Object.getOwnPropertyNames(window).filter((name) => /^(HTML|SVG)\w*Element$/.test(name));
  for (const name of [...GLOBALS, ...classes]) {
    Object.defineProperty(globalThis, name, { value: window[name], configurable: true, writable: true });
  }
  globalThis.CSS = { escape: (text) => text.replace(/[^\w-]/g, "\\$&") };
  globalThis.ResizeObserver = StubResizeObserver;
}

/** Scrolls an element, as a reader does. */
export function scrollTo(element, scrollTop) {
  element.scrollTop = scrollTop;
  element.dispatchEvent(new Event("scroll"));
  element.dispatchEvent(new Event("scrollend"));
}

/** Gives an element another height. */
export function resize(element, height) {
  element.style.height = `${height}px`;
  observers.get(element)?.();
}

/** The elements whose sizes are observed. */
export function observed() {
  return [...observers.keys()];
}
