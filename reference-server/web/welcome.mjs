// The welcome card: guest, sign in, register.

import { byId, setNote } from "./dom.mjs";

const SIGN_IN_ERRORS = {
  busy: "There were too many sign-ins. Please try again in a minute.",
  refused: "The sign-in was cancelled.",
  expired: "The sign-in took too long, or began in another browser. Please try again.",
  failed: "The sign-in did not work. Please try again later.",
};

/** Runs the welcome card; `entered(token, user, {guest})` is called after a sign-in. */
export class Welcome {
  #mode = "login";

  constructor({ api, entered }) {
    this.api = api;
    this.entered = entered;
    this.section = byId("welcome");
    this.form = byId("auth-form");
    this.tabs = { login: byId("tab-login"), register: byId("tab-register") };
    for (const [mode, tab] of Object.entries(this.tabs)) {
      tab.addEventListener("click", () => this.#setMode(mode));
      tab.addEventListener("keydown", (event) => {
        if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
        this.#setMode(this.#mode === "login" ? "register" : "login");
        this.tabs[this.#mode].focus();
      });
    }
    byId("guest").addEventListener("click", () => this.#run(() => this.api.guest(), true));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  show(message = "") {
    this.section.hidden = false;
    this.#setMode("login");
    setNote(byId("auth-error"), message);
    byId("guest").focus();
  }

  /** Takes a user back that was sent to sign in at another site; the address tells how it went. */
  takeBack() {
    const address = new URL(location.href);
    const error = address.searchParams.get("sign_in_error");
    const cameBack = address.searchParams.has("signed_in");
    if (error === null && !cameBack) return;
    for (const key of ["sign_in_error", "signed_in"]) address.searchParams.delete(key);
    history.replaceState(null, "", address);
    if (cameBack) this.#run(() => this.api.oidc(), false);
    else setNote(byId("auth-error"), SIGN_IN_ERRORS[error] ?? SIGN_IN_ERRORS.failed);
  }

  hide() {
    this.section.hidden = true;
    this.form.reset();
    this.#clearErrors();
  }

  #setMode(mode) {
    this.#mode = mode;
    for (const [name, tab] of Object.entries(this.tabs)) {
      tab.setAttribute("aria-selected", String(name === mode));
      tab.tabIndex = name === mode ? 0 : -1;
    }
    byId("auth-panel").setAttribute("aria-labelledby", this.tabs[mode].id);
    byId("auth-submit").textContent = mode === "login" ? "Sign in" : "Create account";
    byId("password").autocomplete = mode === "login" ? "current-password" : "new-password";
    this.#clearErrors();
  }

  #submit() {
    const username = byId("username").value.trim();
    const password = byId("password").value;
    this.#clearErrors();
    if (!username) return this.#fieldError("username", "Enter a name.");
    if (!password) return this.#fieldError("password", "Enter a password.");
    return this.#run(() => this.api[this.#mode](username, password), false);
  }

  async #run(request, guest) {
    this.#clearErrors();
    this.section.setAttribute("aria-busy", "true");
    try {
      const { token, user } = await request();
      this.entered(token, user, { guest });
    } catch (error) {
      this.#showError(error);
    } finally {
      this.section.removeAttribute("aria-busy");
    }
  }

  #showError(error) {
    const { username, password, ...rest } = error.fields ?? {};
    if (username) this.#fieldError("username", `The name ${[username].flat().join(", ")}.`);
    if (password) this.#fieldError("password", `The password ${[password].flat().join(", ")}.`);
    if ((!username && !password) || Object.keys(rest).length > 0) setNote(byId("auth-error"), error.message);
  }

  #fieldError(field, text) {
    setNote(byId(`${field}-error`), text);
    const input = byId(field);
    input.setAttribute("aria-invalid", "true");
    input.focus();
  }

  #clearErrors() {
    setNote(byId("auth-error"), "");
    for (const field of ["username", "password"]) {
      setNote(byId(`${field}-error`), "");
      byId(field).removeAttribute("aria-invalid");
    }
  }
}
