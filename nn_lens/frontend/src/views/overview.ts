/** The network at a glance: a stop for each group of its modules, with the strongest map of the picture; a click goes there. */
import { el, say, short, caption as write } from "../drawing/dom";
import { loaded, show, still } from "../drawing/still";
import type { Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { cut, phrase } from "../panel/words";
import { AnswerView } from "./view";

/** The strongest unit of the last layer of each group, and its map. */
export interface Overview {
  stops: { name: string; layer: string; channel: number; value: number }[];
  pictures: HTMLImageElement[];
}

export async function decodeOverview(head: Message, buffers: DataView[]): Promise<Overview> {
  return { ...(head as unknown as Overview), pictures: await Promise.all(buffers.map(loaded)) };
}

/** Letters of a group's name. */
const NAME = 11;

interface Stop {
  root: HTMLButtonElement;
  image: HTMLImageElement;
  label: HTMLElement;
  layer: string;
}

export class OverviewView extends AnswerView<"overview"> {
  private readonly stops = el("div", { class: "stops", role: "group", "aria-label": phrase("overview.label") });
  private readonly fold = el(
    "button",
    { type: "button", class: "folds", "aria-expanded": "true" },
    phrase("overview.fold"),
  );
  /** They stay, so that a new picture takes the place of the one before. */
  private readonly shows: Stop[] = [];
  private folded = false;
  private at = -1;

  constructor(store: Store) {
    super(store, "overview", "overview");
    this.fold.addEventListener("click", () => {
      this.folded = !this.folded;
      this.fold.setAttribute("aria-expanded", String(!this.folded));
      say(this.fold, phrase(this.folded ? "overview.show" : "overview.fold"));
      store.changed();
    });
    this.stops.dataset.waits = this.waiting();
    this.tools.append(this.fold);
    this.body.append(this.stops);
  }

  override draw(): void {
    super.draw();
    if (this.folded) this.body.hidden = true;
    this.note.hidden = this.folded || !this.note.classList.contains("why");
    const { groups } = this.store.network;
    const now = groups.findIndex(({ layers }) => layers.includes(this.store.layer.name));
    const before = this.at;
    this.at = now;
    if (now !== before) this.press(now);
    // In the next frame: where things lie is known then, and to ask in this one would cost a layout.
    if (now !== before) requestAnimationFrame(() => this.follow());
  }

  /** Keeps the present stop in sight without moving the page. */
  private follow(): void {
    const { stops } = this;
    const stop = this.shows[this.at]?.root;
    if (stop && stops.scrollWidth > stops.clientWidth) stops.scrollLeft = stop.offsetLeft - stops.clientWidth / 2;
  }

  private press(now: number): void {
    for (const [i, { root }] of this.shows.entries()) root.setAttribute("aria-pressed", String(i === now));
  }

  protected shown({ stops }: Overview): string {
    return `${this.store.picture?.key} ${stops.length}`;
  }

  protected tell(): string {
    return "";
  }

  protected waiting(): string {
    return phrase("overview.waiting");
  }

  protected paint({ stops, pictures }: Overview): void {
    while (this.shows.length > stops.length) this.shows.pop()?.root.remove();
    for (const [i, { name, layer, channel, value }] of stops.entries()) {
      const stop = this.stop(i);
      const here = this.store.sight.layers.has(layer); // an exported page may not hold it
      const values = { name, layer, channel, value: short(value) };
      const says = phrase(here ? "overview.stop" : "overview.stopAbsent", values);
      stop.layer = layer;
      stop.root.title = stop.image.alt = says;
      stop.root.disabled = !here;
      show(stop.image, pictures[i]);
      write(stop.label, cut(name, NAME), "");
    }
    this.press(this.at);
  }

  private stop(i: number): Stop {
    if (this.shows[i]) return this.shows[i];
    const [image, label] = [still(), el("span", { class: "caption" })];
    const root = el("button", { type: "button", class: "tile" }, image, label);
    const stop: Stop = { root, image, label, layer: "" };
    root.addEventListener("click", () => this.store.sight.select(stop.layer, this.store.selection.channel));
    this.stops.append(root);
    this.shows[i] = stop;
    return stop;
  }
}
