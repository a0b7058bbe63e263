/** A page that says what each card shows and how it was made; keys last. */
import { el } from "../drawing/dom";
import type { Store } from "./store";
import { aboutOf, STRINGS, titleOf } from "./strings";
import { reworded } from "./words";

export class Help {
  readonly root = el("div", {
    class: "help",
    role: "dialog",
    "aria-label": STRINGS.help.title,
    tabindex: -1,
    hidden: true,
  });
  private shown = "";

  constructor(private readonly store: Store) {}

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  toggle(): void {
    this.root.hidden = !this.root.hidden;
    this.draw();
    if (this.isOpen) this.root.focus();
  }

  close(): void {
    this.root.hidden = true;
  }

  /** Tells of the cards that are shown now. */
  draw(): void {
    const { store } = this;
    const views = store.views.filter((view) => store.shows(view));
    if (!this.isOpen || `${views}` === this.shown) return;
    this.shown = `${views}`;
    const words = (text: string) => reworded(text, store.network.kind);
    const { title, intro, keys, close, shape } = STRINGS.help;
    const cards = views.flatMap((view) => {
      const [shows, made] = aboutOf(view);
      return [el("dt", {}, words(titleOf(view))), el("dd", {}, words(`${shows} ${made}`))];
    });
    const list = STRINGS.keys.map(([key, text]) => [el("dt", {}, el("kbd", {}, key)), el("dd", {}, text)]);
    this.root.replaceChildren(
      el("button", { type: "button", class: "shut", onclick: () => this.close() }, close),
      el("h3", {}, title),
      el("p", {}, words(`${intro} ${shape}`)),
      el("dl", {}, ...cards),
      el("h3", {}, keys),
      el("dl", {}, ...list.flat()),
    );
  }
}
