// The side panels: on narrow screens they lie over the chat, one at a time.

import { byId } from "./dom.mjs";

/** The widths at which the panel of the members, and that of the rooms, lies over the chat; as in layout.css. */
const NARROW = "(max-width: 1000px)";
const PHONE = "(max-width: 680px)";

/** Shows and hides the side panels. */
export class Panels {
  #shown = null;
  /** What had the focus when the panel was shown. */
  #opener = null;

  constructor() {
    document.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action === "show-rooms") this.show("rooms");
      if (action === "close-panels") this.show(null);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !event.target.closest("dialog, [popover]")) this.show(null);
    });
    byId("toggle-members").addEventListener("click", () => {
      if (isNarrow()) this.show(byId("app").dataset.panel === "members" ? null : "members");
      else byId("app").classList.toggle("members-hidden");
      this.#drawToggle();
    });
    // Where there is room for a panel it lies over nothing.
    const onWidth = () => {
      this.show(null);
      this.#drawToggle();
    };
    for (const query of [NARROW, PHONE]) matchMedia(query).addEventListener("change", onWidth);
    this.#drawToggle();
  }

  /** Shows the panel of this name over the chat, or none. Keys reach nothing behind it. */
  show(panel) {
    const app = byId("app");
    if (panel === (app.dataset.panel ?? null)) return;
    const shown = panel && byId(`${panel}-panel`);
    const focused = document.activeElement;
    if (panel) app.dataset.panel = panel;
    else delete app.dataset.panel;
    const scrim = byId("scrim");
    scrim.hidden = !panel;
    for (const part of app.children) part.inert = shown !== null && part !== shown && part !== scrim;
    if (shown) {
      this.#opener = focused;
      shown.querySelector("[data-action=close-panels]").focus();
    } else if (focused === document.body || this.#shown.contains(focused)) this.#opener.focus();
    this.#shown = shown;
    this.#drawToggle();
  }

  #drawToggle() {
    const app = byId("app");
    const shown = isNarrow() ? app.dataset.panel === "members" : !app.classList.contains("members-hidden");
    byId("toggle-members").setAttribute("aria-expanded", String(shown));
  }
}

function isNarrow() {
  return matchMedia(NARROW).matches;
}
