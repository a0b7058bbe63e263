/** One card of the panel: a heading, a body, and a line that says what is seen, or why there is nothing. */
import { el, say } from "../drawing/dom";
import { markStale } from "../drawing/stale";
import { ofPicture, type ViewName, type What } from "../panel/questions";
import type { Store } from "../panel/store";
import { aboutOf, type Phrase, STRINGS, titleOf, type Values } from "../panel/strings";
import { phrase, reworded, shapeOf } from "../panel/words";
import type { Decoded } from ".";

/** What a card says that waits for a kernel that is gone. */
export const GONE = STRINGS.gone;

export abstract class View {
  readonly root: HTMLElement;
  protected readonly title: string;
  protected readonly heading = el("h3", {});
  protected readonly body = el("div", { class: "body" });
  protected readonly note = el("p", { class: "note" });
  protected readonly tools = el("span", { class: "tools" });

  /** `style`: the card's class in the style sheet, where it is not the view's name. */
  constructor(
    protected readonly store: Store,
    name: ViewName,
    style: ViewName | "picture-card" | "unit-card" | "kernel-lab" = name,
  ) {
    this.title = this.words(titleOf(name));
    this.heading.append(this.title);
    const [shows, made] = aboutOf(name);
    const about = el("p", { class: "about", hidden: true }, this.words(`${shows} ${made}`));
    const why = el("button", { type: "button", class: "why-card", "aria-expanded": "false" }, "?");
    why.title = this.words(shows);
    why.setAttribute("aria-label", phrase("card.about", { title: this.title }));
    why.addEventListener("click", () => {
      about.hidden = !about.hidden;
      why.setAttribute("aria-expanded", String(!about.hidden));
    });
    const title = el("span", { class: "title" }, this.heading, ...(shows ? [why] : []));
    const head = el("header", {}, title, this.tools);
    this.root = el("section", { class: `card ${style}`, "aria-label": this.title }, head, about, this.body, this.note);
  }

  /** Draws the store's present state; called once per frame after a change. */
  abstract draw(): void;

  close(): void {}

  /** Why a kind has nothing to show here, "" if it has or may yet. */
  protected whyNot(kind: What): string {
    return ofPicture(kind) && !this.store.picture ? this.noPicture() : this.store.failure(kind);
  }

  protected noPicture(): string {
    const { network } = this.store;
    return network.kind === "picture"
      ? phrase("picture.none")
      : this.phrase("picture.noneOfOthers", { shape: shapeOf(network) });
  }

  /** What pictures of the dataset are, and how to have one's own looked at. */
  protected counted(): string {
    const { crops } = this.store.network;
    return crops ? phrase("card.crops", { count: crops }) : phrase("card.pictures");
  }

  /** A text about pictures, as one about what this network reads. */
  protected words(text: string): string {
    return reworded(text, this.store.network.kind);
  }

  /** A text of the catalogue, as one about what this network reads. */
  protected phrase(key: Phrase, values: Values = {}): string {
    return phrase(key, values, this.store.network.kind);
  }

  /** Dims what is out of date until the new is there. */
  protected stale(is: boolean): void {
    markStale(this.root, is);
  }

  /** Says why there is nothing to show, in place of it; "" shows it. */
  protected empty(why: string): void {
    this.body.hidden = why !== "";
    this.note.classList.toggle("why", why !== "");
    if (why) say(this.note, why);
  }
}

/** A card that shows the answers of one kind, each painted once. */
export abstract class AnswerView<W extends What> extends View {
  private painted: Decoded[W] | null = null;

  constructor(
    store: Store,
    name: ViewName,
    protected readonly kind: W,
  ) {
    super(store, name);
  }

  draw(): void {
    const why = this.whyNot(this.kind);
    const answer = this.store.answer(this.kind);
    this.stale(!answer && !why);
    this.empty(why);
    if (answer && answer !== this.painted) {
      this.painted = answer;
      this.paint(answer);
    }
    this.root.dataset.shown = answer ? this.shown(answer) : "";
    if (!why) say(this.note, this.words(answer ? this.tell(answer) : this.waits(this.waiting())));
  }

  /** What the card waits for; another question may come first, or none be answered any more. */
  private waits(text: string): string {
    const { conversation } = this.store;
    if (conversation.lost) return GONE;
    // Which comes first until the selected unit has its image.
    const step = this.store.reached() === undefined ? conversation.running("page") : null;
    const asked = conversation.opened(this.kind) !== undefined;
    return asked && step !== null ? phrase("card.after", { text, step }) : text;
  }

  /** Has the present answer painted again when the card is drawn next. */
  protected repaint(): void {
    this.painted = null;
  }

  protected abstract paint(answer: Decoded[W]): void;

  /** What is shown, for whoever reads it off the page. */
  protected abstract shown(answer: Decoded[W]): string;

  /** What is seen, in a line. */
  protected abstract tell(answer: Decoded[W]): string;

  /** What the card says until there is an answer. */
  protected abstract waiting(): string;
}
