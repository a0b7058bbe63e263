/** A text that is chosen from a list with a search: closed it says what is chosen, open it lists what answers a question. */
import { el, say } from "../drawing/dom";
import { phrase } from "../panel/words";
import { VirtualList } from "./list";

/** A line to choose. `folded` is null where there is nothing inside; `chooses`: whether it can be chosen itself. */
export interface Choice {
  key: string;
  label: string;
  detail: string;
  title?: string;
  depth?: number;
  folded?: boolean | null;
  chooses?: boolean;
}

export interface Offer {
  /** The lines that answer a question, all for "". */
  choices(question: string): Choice[];
  choose(key: string): void;
  /** Folds or unfolds a line. */
  fold?(key: string): void;
}

const LINE = 24;

export class Combo {
  readonly root: HTMLElement;
  private readonly button: HTMLButtonElement;
  private readonly search: HTMLInputElement;
  private readonly popup: HTMLElement;
  private readonly list: VirtualList;
  private readonly none = el("p", { class: "note", hidden: true }, phrase("combo.none"));
  private readonly line = el("span", {});
  private readonly pieces: HTMLElement[] = [];
  private choices: Choice[] = [];
  private now = "";
  private title = "";

  constructor(
    private readonly label: string,
    private readonly offer: Offer,
  ) {
    this.button = el("button", {
      type: "button",
      class: "chosen",
      "aria-haspopup": "listbox",
      "aria-expanded": "false",
    });
    this.button.append(this.line);
    this.search = el("input", { type: "search", role: "combobox", "aria-label": phrase("combo.search", { label }) });
    this.search.placeholder = phrase("combo.hint");
    this.search.setAttribute("aria-expanded", "true");
    this.list = new VirtualList(
      label,
      LINE,
      (index, into) => this.draw(index, into),
      (index, event) => this.take(index, event),
    );
    this.popup = el("div", { class: "popup", hidden: true }, this.search, this.list.root, this.none);
    this.root = el("div", { class: "combo" }, this.button, this.popup);
    this.button.addEventListener("click", () => (this.popup.hidden ? this.open() : this.shut()));
    this.search.addEventListener("input", () => this.fill());
    this.search.addEventListener("keydown", (event) => this.key(event));
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.popup.hidden) {
        this.shut();
        this.button.focus();
        event.stopPropagation();
      } else if (!this.popup.hidden) event.stopPropagation(); // keys of the panel are letters here
    });
    this.root.addEventListener("focusout", (event) => {
      if (!this.root.contains(event.relatedTarget as Node | null)) this.shut();
    });
  }

  close(): void {
    this.list.close();
  }

  /** Says what is chosen: the name, and what else there is room for. */
  set(key: string, [name, ...more]: string[], title: string): void {
    if (key === this.now && title === this.title) return;
    [this.now, this.title] = [key, title];
    while (this.pieces.length <= more.length) {
      const piece = el("span", {});
      this.pieces.push(piece);
      this.line.append(piece);
    }
    for (const [i, text] of [name, ...more.map((piece) => ` · ${piece}`)].entries()) say(this.pieces[i], text);
    this.button.title = title;
    this.button.setAttribute("aria-label", phrase("combo.choose", { label: this.label, title }));
  }

  open(): void {
    this.popup.hidden = false;
    this.button.setAttribute("aria-expanded", "true");
    this.search.value = "";
    this.fill();
    this.search.focus();
  }

  private shut(): void {
    this.popup.hidden = true;
    this.button.setAttribute("aria-expanded", "false");
  }

  private fill(): void {
    const question = this.search.value.trim();
    this.choices = this.offer.choices(question);
    const own = this.choices.findIndex(({ key }) => key === this.now);
    const first = this.choices.findIndex(({ chooses = true }) => chooses);
    this.list.root.hidden = !this.choices.length;
    this.none.hidden = this.choices.length > 0;
    this.list.show(this.choices.length, question ? first : own);
    this.search.setAttribute("aria-activedescendant", this.list.markedId);
    this.search.setAttribute("aria-controls", this.list.root.id);
  }

  private draw(index: number, into: HTMLElement): void {
    const {
      key,
      label,
      detail,
      title = label,
      depth = 0,
      folded = null,
      chooses = true,
    } = this.choices[index] ?? {
      key: "",
      label: "",
      detail: "",
    };
    const state = `${key} ${label} ${detail} ${folded} ${key === this.now}`;
    if (into.dataset.state === state) return;
    into.dataset.state = state;
    into.title = title;
    into.style.paddingLeft = `${4 + 14 * depth}px`;
    into.classList.toggle("group", !chooses);
    into.classList.toggle("now", key === this.now);
    const sign = folded === null ? "" : folded ? "▸" : "▾";
    into.replaceChildren(
      el("span", { class: "fold", "aria-hidden": "true" }, sign),
      el("span", { class: "who" }, label),
      el("span", { class: "detail" }, detail),
    );
  }

  private take(index: number, event: Event): void {
    const { key, folded = null, chooses = true } = this.choices[index] ?? { key: "" };
    const onSign = (event.target as Element | null)?.classList?.contains("fold");
    if (folded !== null && (onSign || !chooses)) {
      this.offer.fold?.(key);
      this.fill();
      this.list.mark(index);
      return;
    }
    if (!chooses) return;
    this.shut();
    this.button.focus();
    this.offer.choose(key);
  }

  private key(event: KeyboardEvent): void {
    const marked = this.choices[this.list.marked];
    const folds = { ArrowRight: true, ArrowLeft: false }[event.key];
    if (event.key === "Enter" && marked) this.take(this.list.marked, event);
    else if (folds !== undefined && !this.search.value && marked?.folded === folds) {
      const at = this.list.marked;
      this.offer.fold?.(marked.key);
      this.fill();
      this.list.mark(at);
    } else if (!["Home", "End"].includes(event.key) && this.list.step(event.key)) {
      this.search.setAttribute("aria-activedescendant", this.list.markedId);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
