/** One card of the panel: a heading, a body, and a line that says what is seen, or why there is nothing. */
import { el, say } from "../shared/dom";
import type { Store } from "../shared/store";

export abstract class View {
  readonly root: HTMLElement;
  protected readonly body = el("div", { class: "body" });
  protected readonly note = el("p", { class: "note" });
  protected readonly tools = el("span", { class: "tools" });
  private readonly heading = el("h3");

  constructor(
    protected readonly store: Store,
    name: string,
    title: string,
  ) {
    say(this.heading, title);
    const head = el("header", {}, this.heading, this.tools);
    this.root = el("section", { class: `card ${name}`, "aria-label": title }, head, this.body, this.note);
  }

  /** Draws the store's present state; called once per frame after a change. */
  abstract draw(): void;

  close(): void {}

  /** Dims what is out of date until the new is there. */
  protected stale(is: boolean): void {
    this.root.classList.toggle("stale", is);
  }

  /** Says why there is nothing to show, in place of it; "" shows it. */
  protected empty(why: string): void {
    this.body.hidden = why !== "";
    this.note.classList.toggle("why", why !== "");
    if (why) say(this.note, why);
  }
}
