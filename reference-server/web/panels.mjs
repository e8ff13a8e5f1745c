// The side panels: on narrow screens they lie over the chat, one at a time.

import { byId } from "./dom.mjs";

/** Shows and hides the side panels. */
export class Panels {
  constructor() {
    document.addEventListener("click", (event) => {
      const action = event.target.closest("[data-action]")?.dataset.action;
      if (action === "show-rooms") this.show("rooms");
      if (action === "close-panels") this.show(null);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.show(null);
    });
    byId("toggle-members").addEventListener("click", () => {
      if (isNarrow()) this.show(byId("app").dataset.panel === "members" ? null : "members");
      else byId("app").classList.toggle("members-hidden");
      this.#drawToggle();
    });
  }

  /** Shows the panel of this name over the chat, or none. */
  show(panel) {
    const app = byId("app");
    if (panel) app.dataset.panel = panel;
    else delete app.dataset.panel;
    byId("scrim").hidden = !panel;
    this.#drawToggle();
  }

  #drawToggle() {
    const app = byId("app");
    const shown = isNarrow() ? app.dataset.panel === "members" : !app.classList.contains("members-hidden");
    byId("toggle-members").setAttribute("aria-expanded", String(shown));
  }
}

function isNarrow() {
  return matchMedia("(max-width: 1000px)").matches;
}
