// Puts the chat on any site:
//
//   <script src="https://chat.example.org/embed.js" data-room="lobby" async></script>
//
// A button in the corner opens the chat in a frame. Attributes, all optional: data-room (a room's name),
// data-tenant, data-label (the button's text), data-target (a CSS selector: the chat fills that element instead).
(() => {
  const script = document.currentScript;
  const { room, tenant, target, label = "Chat" } = script.dataset;
  const address = new URL("./", script.src);
  if (room) address.searchParams.set("room", room);
  if (tenant) address.searchParams.set("tenant", tenant);

  const frame = document.createElement("iframe");
  frame.title = label;
  frame.loading = "lazy";
  Object.assign(frame.style, { border: "0", width: "100%", height: "100%", colorScheme: "normal" });

  // A text that is no selector matches nothing.
  const find = (selector) => {
    try {
      return document.querySelector(selector);
    } catch {
      return null;
    }
  };

  const put = () => {
    const place = target && find(target);
    if (target && !place) return console.warn(`headcount: nothing on this page matches ${target}`);
    if (!place) return float();
    frame.src = address;
    place.append(frame);
    return undefined;
  };

  const float = () => {
    Object.assign(frame.style, {
      position: "fixed",
      right: "20px",
      bottom: "84px",
      width: "min(400px, calc(100vw - 40px))",
      height: "min(620px, calc(100vh - 110px))",
      borderRadius: "16px",
      boxShadow: "0 12px 40px #0004",
      zIndex: "2147483000",
    });
    // The page may style frames so that the attribute `hidden` does nothing.
    const show = (isShown) => frame.style.setProperty("display", isShown ? "block" : "none", "important");
    let isShown = false;
    show(isShown);
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label;
    button.setAttribute("aria-expanded", "false");
    Object.assign(button.style, {
      position: "fixed",
      right: "20px",
      bottom: "20px",
      padding: "14px 22px",
      border: "0",
      borderRadius: "28px",
      background: "#5151cd",
      color: "#fff",
      font: "600 16px system-ui, sans-serif",
      cursor: "pointer",
      boxShadow: "0 6px 20px #0003",
      zIndex: "2147483000",
    });
    button.addEventListener("click", () => {
      isShown = !isShown;
      show(isShown);
      if (isShown && !frame.src) frame.src = address;
      button.setAttribute("aria-expanded", String(isShown));
      if (isShown) frame.focus();
    });
    document.body.append(frame, button);
  };

  if (document.readyState === "loading") addEventListener("DOMContentLoaded", put);
  else put();
})();
