/**
 * Keeps parts of a panel in sight while the page scrolls. `position: sticky` alone does not: notebooks put each output into
 * a box that could scroll by itself, and parts stick to that box, which never does.
 */

/** What an element lies in; some hosts, such as marimo, put a panel into a tree of its own. */
function around(element: Element): Element | null {
  const top = element.getRootNode();
  return element.parentElement ?? (top instanceof ShadowRoot ? top.host : null);
}

/** The part of the page that is seen around an element, between the edges of all boxes that cut it off. */
function seen(root: HTMLElement): [top: number, bottom: number] {
  let [top, bottom] = [0, window.innerHeight];
  for (let box = around(root); box && box !== document.body; box = around(box)) {
    if (getComputedStyle(box).overflowY === "visible") continue;
    const edges = box.getBoundingClientRect();
    top = Math.max(top, edges.top);
    bottom = Math.min(bottom, edges.bottom);
  }
  return [top, bottom];
}

export class Sticky {
  private frame = 0;
  private readonly shifts = new WeakMap<HTMLElement, number>();
  private readonly scrolled = ({ target }: Event) => {
    // A list inside of the panel moves nothing but itself; to look where all lies would cost a layout.
    if (target instanceof Element && this.root.contains(target)) return;
    if (!this.frame) this.frame = requestAnimationFrame(() => this.place());
  };

  /** `bar` stays at the top, `side` below it, both inside of `root`; and what is of class "stays", as far as its list goes. */
  constructor(
    private readonly root: HTMLElement,
    private readonly bar: HTMLElement,
    private readonly side: HTMLElement | null,
  ) {
    // Scrolling does not bubble, but it can be heard on its way down.
    window.addEventListener("scroll", this.scrolled, { capture: true, passive: true });
    window.addEventListener("resize", this.scrolled);
  }

  close(): void {
    window.removeEventListener("scroll", this.scrolled, { capture: true });
    window.removeEventListener("resize", this.scrolled);
    cancelAnimationFrame(this.frame);
  }

  private place(): void {
    this.frame = 0;
    const whole = this.root.getBoundingClientRect();
    if (!whole.height) return;
    const [top] = seen(this.root);
    const bar = this.bar.getBoundingClientRect();
    this.shift(this.bar, bar, top, whole.bottom);
    const { side } = this;
    // Where cards stand below one another, what stays would cover them.
    if (side && getComputedStyle(side).position === "sticky")
      this.shift(side, side.getBoundingClientRect(), top + bar.height, whole.bottom);
    else if (side) this.move(side, 0);
    const below = top + bar.height;
    for (const head of this.root.querySelectorAll<HTMLElement>(".stays"))
      this.shift(
        head,
        head.getBoundingClientRect(),
        below,
        head.parentElement?.getBoundingClientRect().bottom ?? below,
      );
  }

  /** Moves a part down to an edge, as far as the panel goes. */
  private shift(part: HTMLElement, box: DOMRect, edge: number, end: number): void {
    const now = this.shifts.get(part) ?? 0;
    this.move(part, Math.max(0, Math.min(edge - (box.top - now), end - (box.bottom - now))));
  }

  private move(part: HTMLElement, by: number): void {
    const rounded = Math.round(by);
    if (rounded === (this.shifts.get(part) ?? 0)) return;
    this.shifts.set(part, rounded);
    part.style.transform = rounded ? `translateY(${rounded}px)` : "";
  }
}
