/** The small picture that the pointer or the focus rests on, drawn large beside it. */
import { el } from "./dom";
import { type Picture, sizeOf } from "./still";

const SMALL = ".nn-lens :is(.tile, .spectrum, .unit-row, .one, .seen) :is(canvas, img)";
/** Pixels of the large picture, and of a picture that is large enough as it is. */
const [LARGE, ENOUGH] = [224, 180];
/** Milliseconds until the first is shown; the next one follows the pointer at once. */
const REST = 220;
const GAP = 6;

export class Enlarger {
  readonly root = el("canvas", { class: "large", hidden: true, "aria-hidden": "true" });
  private of: Picture | null = null;
  private timer = 0;

  constructor(private readonly panel: HTMLElement) {
    panel.append(this.root);
    panel.addEventListener("pointerover", (event) => this.point(found(event.target)));
    panel.addEventListener("pointerleave", () => this.point(null));
    panel.addEventListener("focusin", (event) => {
      const target = event.target as Element;
      this.point(target.matches(":focus-visible") ? found(target) : null);
    });
    panel.addEventListener("focusout", () => this.point(null));
    panel.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.point(null);
    });
  }

  close(): void {
    clearTimeout(this.timer);
  }

  /** Draws what has changed in the picture. */
  refresh(): void {
    const { of } = this;
    if (!of || this.root.hidden) return;
    if (of.isConnected && of.clientWidth) this.draw(of);
    else this.point(null);
  }

  private point(of: Picture | null): void {
    if (of === this.of) return;
    clearTimeout(this.timer);
    this.of = of;
    const use = of && sizeOf(of)[0] > 1 && of.clientWidth > 0 && of.clientWidth < ENOUGH;
    if (!use) this.root.hidden = true;
    else if (!this.root.hidden) this.show(of);
    else this.timer = window.setTimeout(() => this.show(of), REST);
  }

  private show(of: Picture): void {
    if (getComputedStyle(of).visibility === "hidden") return;
    this.root.hidden = false;
    this.draw(of);
    const [own, whole] = [of.getBoundingClientRect(), this.panel.getBoundingClientRect()];
    const [width, height] = [this.root.offsetWidth, this.root.offsetHeight];
    const right = own.right + GAP + width <= Math.min(whole.right, window.innerWidth);
    const left = right ? own.right + GAP : own.left - GAP - width;
    const top = Math.max(4, Math.min(own.top + own.height / 2 - height / 2, window.innerHeight - height - 4));
    this.root.style.left = `${Math.max(0, left - whole.left)}px`;
    this.root.style.top = `${top - whole.top}px`;
  }

  private draw(of: Picture): void {
    const own = sizeOf(of);
    const scale = LARGE / Math.max(...own);
    const dpr = window.devicePixelRatio || 1;
    const [width, height] = own.map((side) => Math.round(side * scale));
    this.root.style.width = `${width}px`;
    this.root.style.height = `${height}px`;
    this.root.width = width * dpr;
    this.root.height = height * dpr;
    const context = this.root.getContext("2d");
    if (!context) return;
    context.imageSmoothingEnabled = getComputedStyle(of).imageRendering !== "pixelated";
    context.imageSmoothingQuality = "high";
    context.drawImage(of, 0, 0, this.root.width, this.root.height);
  }
}

/** The small picture at an element, or in the button that it is. */
function found(target: EventTarget | null): Picture | null {
  if (!(target instanceof Element)) return null;
  return target.closest<Picture>(SMALL) ?? target.closest(".tile")?.querySelector<Picture>("canvas, img") ?? null;
}
