// Small dialogs: one form each, which stays open with the reason while what it asks for cannot be done.

import { byId, setNote } from "./dom.mjs";

/** Ties a dialog to what it does: `submit(fields)` is called with the form's elements, and may throw the reason. */
export function bindDialog(name, submit) {
  const dialog = byId(`${name}-dialog`);
  const form = byId(`${name}-form`);
  const note = dialog.querySelector(".form-error");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    setNote(note, "");
    try {
      await submit(form.elements);
      dialog.close();
    } catch (error) {
      setNote(note, error.message);
    }
  });
  form.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
  return {
    open() {
      form.reset();
      setNote(note, "");
      dialog.showModal();
      form.querySelector("input, button").focus();
    },
  };
}

/** Asks for the name of a user. */
export class UserDialog {
  #chosen = null;

  constructor(api) {
    this.dialog = bindDialog("user", async ({ name }) => {
      const wanted = name.value.trim();
      const user = wanted && (await api.userNamed(wanted));
      if (!user) throw new Error(wanted ? `There is no user named ${wanted}.` : "Enter a name.");
      await this.#chosen(user);
    });
  }

  /** Opens the dialog; `chosen(user)` is called with the user, and may throw the reason why it cannot be that one. */
  ask({ title, verb, chosen }) {
    this.#chosen = chosen;
    byId("user-dialog-title").textContent = title;
    byId("user-form-submit").textContent = verb;
    this.dialog.open();
  }
}
