/** What else a panel can do, each with the line of Python that does it, to be copied. */
import { copied, el, say } from "../drawing/dom";
import type { Store } from "./store";
import { STRINGS } from "./strings";
import { phrase } from "./words";

export class Menu {
  readonly root: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly popup: HTMLElement;

  constructor(store: Store) {
    this.button = el("button", { type: "button", "aria-expanded": "false", "aria-label": phrase("menu") }, "…");
    this.button.title = phrase("menu.title");
    const items = STRINGS.menu.map(({ title, code, says }) => {
      const text = () => (code === "lens.code()" ? store.code() : code);
      const line = el("code", {}, code);
      const item = el("button", { type: "button", class: "item" }, el("b", {}, title), el("span", {}, says), line);
      item.title = phrase("menu.copy");
      item.addEventListener("click", async () => {
        say(line, (await copied(text())) ? phrase("copied") : text());
        window.setTimeout(() => say(line, code), 1500);
      });
      return item;
    });
    this.popup = el("div", { class: "popup", hidden: true }, ...items);
    this.root = el("div", { class: "menu" }, this.button, this.popup);
    this.button.addEventListener("click", () => this.open(this.popup.hidden));
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.popup.hidden) return;
      this.open(false);
      this.button.focus();
      event.stopPropagation();
    });
    this.root.addEventListener("focusout", (event) => {
      if (!this.root.contains(event.relatedTarget as Node | null)) this.open(false);
    });
  }

  private open(is: boolean): void {
    this.popup.hidden = !is;
    this.button.setAttribute("aria-expanded", String(is));
  }
}
