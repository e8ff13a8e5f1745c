// The theme button: system, light, dark, in a cycle. theme.js applies the choice before the first paint.

import { localStorageOrNull } from "./session.mjs";

const KEY = "headcount.theme";
const ORDER = ["system", "light", "dark"];

/** Makes the button switch the theme and show the current one. */
export function bindTheme(button) {
  let current = document.documentElement.dataset.theme ?? "system";
  const show = () => {
    if (current === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = current;
    const text = `Theme: ${current}`;
    button.setAttribute("aria-label", text);
    button.title = text;
  };
  button.addEventListener("click", () => {
    current = ORDER[(ORDER.indexOf(current) + 1) % ORDER.length];
    show();
    try {
      localStorageOrNull()?.setItem(KEY, current);
    } catch {
      // Without storage the choice ends with the page.
    }
  });
  show();
}
