/**
 * The panels that are drawn in the page, wherever they stand: each tells of itself by events that bubble up to the document,
 * and is asked by events on its own node.
 */
import { Signal } from "@lumino/signaling";

export interface Drawn {
  root: HTMLElement;
  /** Which object of the kernel its network is. */
  model: string;
  unit: string;
  /** What is being made, "" for nothing, and which share of it is done. */
  what: string;
  share: number | null;
}

/** More panels than this are looked through for such as are gone; one that is scrolled out of a long notebook comes back. */
const MANY = 32;

class Panels {
  /** A panel came, went, selected another unit, or is at other work. */
  readonly changed = new Signal<this, null>(this);
  private readonly known = new Map<HTMLElement, Drawn>();

  constructor() {
    const listen = (name: string, take: (root: HTMLElement, detail: Partial<Drawn>) => void) =>
      document.addEventListener(`nn-lens:${name}`, (event) => {
        take(event.target as HTMLElement, (event as CustomEvent).detail);
        this.changed.emit(null);
      });
    listen("selected", (root, detail) => this.take(root, detail));
    listen("working", (root, detail) => this.take(root, detail));
    listen("closed", (root) => this.known.delete(root));
  }

  /** Those in the page; the one that told something last comes last. */
  get all(): Drawn[] {
    return [...this.known.values()].filter(({ root }) => root.isConnected);
  }

  /** The one that was used last inside of a node, if there is none then in sight; `model`: of those of a model. */
  front(within: Node | null = null, model = ""): Drawn | null {
    const all = this.all.reverse().filter((drawn) => !model || drawn.model === model);
    const near = all.filter(({ root }) => within?.contains(root));
    const from = near.length ? near : all.filter(({ root }) => root.getClientRects().length > 0);
    return from[0] ?? null;
  }

  /** Asks a panel for something. */
  ask({ root }: Drawn, name: "select" | "picture" | "code" | "stop", detail: object = {}): void {
    root.dispatchEvent(new CustomEvent(`nn-lens:${name}`, { detail }));
  }

  /** The next panel that comes, null if none does within so many milliseconds. */
  next(within: number): Promise<Drawn | null> {
    const before = new Set(this.all.map(({ root }) => root));
    return new Promise((found) => {
      const end = (drawn: Drawn | null) => {
        clearTimeout(timer);
        this.changed.disconnect(look);
        found(drawn);
      };
      const look = () => {
        const drawn = this.all.find(({ root }) => !before.has(root));
        if (drawn) end(drawn);
      };
      const timer = window.setTimeout(() => end(null), within);
      this.changed.connect(look);
    });
  }

  private take(root: HTMLElement, detail: Partial<Drawn>): void {
    const drawn = this.known.get(root) ?? { root, model: "", unit: "", what: "", share: null };
    // What told something last stands last; work goes on without being looked at.
    if (detail.unit !== undefined) this.known.delete(root);
    this.known.set(root, Object.assign(drawn, detail));
    // Those of a notebook that was closed could not say so: nothing bubbles out of what has left the page.
    if (this.known.size > MANY) for (const each of this.known.keys()) if (!each.isConnected) this.known.delete(each);
  }
}

export const panels = new Panels();
