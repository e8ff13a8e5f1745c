// Runs before the first paint: a chosen theme does not flash, and neither does the page of a newcomer, who is asked to
// come in first.
(() => {
  const read = (storage, key) => {
    try {
      return globalThis[storage].getItem(key);
    } catch {
      // Storage may be forbidden in a frame.
      return null;
    }
  };
  const root = document.documentElement;
  const theme = read("localStorage", "headcount.theme");
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  const isKnown = read("sessionStorage", "headcount.session") ?? read("localStorage", "headcount.session");
  root.dataset.entry = isKnown ? "app" : "welcome";
})();
