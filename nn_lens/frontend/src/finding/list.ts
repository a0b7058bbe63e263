/** A list of any length: only the lines in sight are in the page. */
import { el } from "../drawing/dom";

let lists = 0;

export class VirtualList {
  readonly root: HTMLElement;
  private readonly inner = el("div", { class: "lines", role: "presentation" });
  private readonly id = `nn-lens-list-${++lists}`;
  private readonly pool: HTMLElement[] = [];
  private count = 0;
  private active = -1;
  private frame = 0;
  private readonly sizes: ResizeObserver;

  /** `line`: pixels of a line's height. `draw` writes line `index` into an element; `chosen` is told of clicks and Enter. */
  constructor(
    label: string,
    private readonly line: number,
    private readonly draw: (index: number, into: HTMLElement) => void,
    private readonly chosen: (index: number, event: Event) => void,
  ) {
    this.root = el("div", { class: "list", role: "listbox", tabindex: 0, "aria-label": label }, this.inner);
    this.root.addEventListener("scroll", () => this.later());
    this.root.addEventListener("click", (event) => {
      const at = (event.target as Element).closest<HTMLElement>(".line")?.dataset.index;
      if (at !== undefined) this.chosen(Number(at), event);
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.sizes = new ResizeObserver(() => this.later());
    this.sizes.observe(this.root);
  }

  close(): void {
    this.sizes.disconnect();
    cancelAnimationFrame(this.frame);
  }

  /** Shows so many lines, of which one is marked; -1 for none. */
  show(count: number, active: number): void {
    const moved = active !== this.active || count !== this.count;
    this.count = count;
    this.active = active;
    this.inner.style.height = `${count * this.line}px`;
    if (moved) this.reveal(active);
    this.lines();
  }

  /** The line that is marked. */
  get marked(): number {
    return this.active;
  }

  /** The page's name of the marked line, "" where there is none. */
  get markedId(): string {
    return this.active < 0 ? "" : `${this.id}-${this.active}`;
  }

  /** Marks a line, and scrolls to it. */
  mark(index: number): void {
    this.show(this.count, Math.max(0, Math.min(this.count - 1, index)));
  }

  /** What an arrow key and the like do to the marked line; whether the key is one of these. */
  step(key: string): boolean {
    const page = Math.max(1, Math.floor(this.root.clientHeight / this.line) - 1);
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -this.count, End: this.count }[key];
    if (by !== undefined) this.mark(this.active + by);
    return by !== undefined;
  }

  private key(event: KeyboardEvent): void {
    const chooses = event.key === "Enter" || event.key === " ";
    if (chooses && this.active >= 0) this.chosen(this.active, event);
    else if (!this.step(event.key)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  private reveal(index: number): void {
    if (index < 0) return;
    const { scrollTop, clientHeight } = this.root;
    const top = index * this.line;
    if (top < scrollTop) this.root.scrollTop = top;
    else if (clientHeight && top + this.line > scrollTop + clientHeight)
      this.root.scrollTop = top + this.line - clientHeight;
  }

  private later(): void {
    if (!this.frame)
      this.frame = requestAnimationFrame(() => {
        this.frame = 0;
        this.lines();
      });
  }

  private lines(): void {
    const { scrollTop, clientHeight } = this.root;
    const first = Math.max(0, Math.floor(scrollTop / this.line) - 2);
    const stop = Math.min(this.count, Math.ceil((scrollTop + clientHeight) / this.line) + 2);
    while (this.pool.length < stop - first) {
      const made = el("div", { class: "line", role: "option", style: `height:${this.line}px` });
      this.pool.push(made);
      this.inner.append(made);
    }
    for (const [i, node] of this.pool.entries()) {
      const index = first + i;
      node.hidden = index >= stop;
      if (node.hidden) continue;
      node.id = `${this.id}-${index}`;
      node.dataset.index = String(index);
      node.style.transform = `translateY(${index * this.line}px)`;
      node.setAttribute("aria-selected", String(index === this.active));
      node.setAttribute("aria-setsize", String(this.count));
      node.setAttribute("aria-posinset", String(index + 1));
      this.draw(index, node);
    }
    this.root.setAttribute("aria-activedescendant", this.markedId);
  }
}
