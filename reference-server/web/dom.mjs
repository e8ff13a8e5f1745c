// Small helpers for building and finding elements. Text of users only ever becomes a text node.

/** Returns the element with this id; a missing one is a mistake in page.html. */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`page.html has no #${id}`);
  return element;
}

/** Makes an element: `h("p", { class: "note", text: name }, child, ...)`. Keys starting with "on" are listeners. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") element.textContent = value;
    else if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Makes an icon of the sprite in page.html. */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  svg.setAttribute("aria-hidden", "true");
  return svg;
}

/** Replaces the rows of a list. The focus stays on the row of the same `data-id`, else goes to the current one. */
export function replaceRows(list, rows) {
  const hadFocus = list.contains(document.activeElement);
  const id = document.activeElement?.dataset.id;
  list.replaceChildren(...rows);
  if (!hadFocus) return;
  const same = [...list.querySelectorAll("[data-id]")].find((row) => row.dataset.id === id);
  (same ?? list.querySelector("[aria-current]"))?.focus();
}

/** Shows the text in the element, or hides the element when there is none. */
export function setNote(element, text) {
  element.hidden = !text;
  if (element.textContent !== (text ?? "")) element.textContent = text ?? "";
}

/** Fills an avatar: initials on a colour that depends on the id alone. */
export function paintAvatar(element, id, name) {
  element.dataset.initials = initials(name);
  element.style.setProperty("--hue", String(hue(id)));
}

/** Returns one or two letters for a name; whole code points, so that emoji and accents survive. */
export function initials(name) {
  const all = String(name)
    .replace(/[-_.]+/g, " ")
    .trim()
    .split(/\s+/);
  const lettered = all.filter((word) => /^\p{L}/u.test(word));
  const words = lettered.length > 1 ? lettered : all;
  const first = [...(words[0] ?? "")];
  const second = words.length > 1 ? [...words[words.length - 1]] : [];
  return ((first[0] ?? "?") + (second[0] ?? "")).toLocaleUpperCase();
}

// The server chooses among the same 24 colours.
function hue(id) {
  let hash = 2166136261;
  for (const char of String(id)) hash = Math.imul(hash ^ char.codePointAt(0), 16777619) >>> 0;
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  hash = Math.imul(hash ^ (hash >>> 13), 3266489909);
  return (((hash ^ (hash >>> 16)) >>> 0) % 24) * 15;
}

/** Returns a text with http(s) addresses as links, as a list of nodes. */
export function linkify(text) {
  const nodes = [];
  let from = 0;
  for (const match of text.matchAll(/https?:\/\/[^\s<>"']+/g)) {
    const url = match[0].replace(/[.,:;!?)\]]+$/, "");
    nodes.push(document.createTextNode(text.slice(from, match.index)));
    nodes.push(h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow ugc", text: url }));
    from = match.index + url.length;
  }
  nodes.push(document.createTextNode(text.slice(from)));
  return nodes;
}

const NUMBER = new Intl.NumberFormat();

/** Formats a count: 100,000. */
export function formatCount(count) {
  return NUMBER.format(count);
}
