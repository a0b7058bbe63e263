/** Which units answer most at the place that is looked at, each with its maximizing image: a dictionary of what is seen. */
import { el, say, short, caption as write } from "../drawing/dom";
import { drawFrom } from "../drawing/sheet";
import { RANKED, type Store } from "../panel/store";
import { View } from "./view";

interface Tile {
  root: HTMLButtonElement;
  canvas: HTMLCanvasElement;
  caption: HTMLElement;
  channel: number;
}

export class HereView extends View {
  private readonly tiles = Array.from({ length: RANKED }, () => this.tile());
  private readonly letGo = el("button", { type: "button", class: "letgo", hidden: true }, "×");

  constructor(store: Store) {
    super(store, "here");
    const tiles = this.tiles.map(({ root }) => root);
    this.letGo.title = "lets go of the place (Esc)";
    this.letGo.setAttribute("aria-label", "let go of the place");
    this.letGo.addEventListener("click", () => store.look.unlock());
    this.tools.append(this.letGo);
    this.body.append(
      el("div", { class: "ranked", role: "group", "aria-label": "units that answer most here" }, ...tiles),
    );
  }

  draw(): void {
    const { store } = this;
    const { layer } = store.selection;
    const why = store.picture ? store.failure("here") : this.noPicture();
    const ranked = why ? [] : store.ranked();
    const neuron = store.sight.neuron();
    this.letGo.hidden = !store.look.locked;
    this.empty(why);
    for (const [i, tile] of this.tiles.entries()) this.drawTile(tile, ranked[i]);
    this.root.dataset.shown = neuron ? `${layer} ${neuron.row},${neuron.column}` : "";
    if (why) return;
    if (!neuron) say(this.note, this.words("Move over the picture or a map: which units answer there? A click stays."));
    else {
      const how = store.look.locked ? "Esc or × lets go" : this.words("a click stays, and makes their images");
      const where = store.sight.inWords(neuron);
      say(this.note, `${where.startsWith("the whole") ? "units" : where} of ${layer}: strongest first; ${how}`);
    }
  }

  private tile(): Tile {
    const canvas = el("canvas", { role: "img" });
    const caption = el("span", { class: "caption" });
    const root = el("button", { type: "button", class: "tile" }, canvas, caption);
    const tile = { root, canvas, caption, channel: 0 };
    root.addEventListener("click", () => {
      // One that is disabled would lose the focus, and the keys with it.
      if (root.getAttribute("aria-disabled") === "false")
        this.store.sight.select(this.store.selection.layer, tile.channel);
    });
    return tile;
  }

  private drawTile(tile: Tile, ranked: [channel: number, value: number] | undefined): void {
    const { root, canvas, caption } = tile;
    root.setAttribute("aria-disabled", String(!ranked));
    if (!ranked) {
      root.setAttribute("aria-label", "no unit yet");
      say(caption, " ");
      canvas.classList.add("none");
      return;
    }
    const { store } = this;
    const { layer, channel } = store.selection;
    const [unit, value] = ranked;
    const name = `${layer}:${unit}`;
    root.setAttribute("aria-label", `${name}, answers ${short(value)}`);
    root.setAttribute("aria-pressed", String(unit === channel));
    tile.channel = unit;
    write(caption, store.nameOf(layer, unit), short(value));
    const image = store.imageOf(layer, unit);
    if (image?.page.sheet) drawFrom(canvas, image.page.sheet, image.index, image.page.channels.length);
    canvas.classList.toggle("none", !image);
    root.classList.toggle("making", !image && store.isAsked("here"));
    const label = image ? `Maximizing image of ${name}` : `${name}, its image is not made yet`;
    canvas.setAttribute("aria-label", this.words(label));
  }
}
