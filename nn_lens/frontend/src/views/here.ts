/** Which units answer most at the place that is looked at, each with its maximizing image: a dictionary of what is seen. */
import { el, say, short, caption as write } from "../drawing/dom";
import { still } from "../drawing/still";
import { RANKED, type Store } from "../panel/store";
import { phrase } from "../panel/words";
import { showWanted } from "./maximization";
import { View } from "./view";

interface Tile {
  root: HTMLButtonElement;
  image: HTMLImageElement;
  caption: HTMLElement;
  channel: number;
}

export class HereView extends View {
  private readonly tiles = Array.from({ length: RANKED }, () => this.tile());
  private readonly letGo = el("button", { type: "button", class: "letgo", hidden: true }, "×");

  constructor(store: Store) {
    super(store, "here");
    const tiles = this.tiles.map(({ root }) => root);
    this.letGo.title = phrase("place.letGo");
    this.letGo.setAttribute("aria-label", phrase("place.letsGo"));
    this.letGo.addEventListener("click", () => store.look.unlock());
    this.tools.append(this.letGo);
    this.body.append(el("div", { class: "ranked", role: "group", "aria-label": phrase("here.label") }, ...tiles));
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
    if (!neuron) say(this.note, this.phrase("here.before"));
    else {
      const how = this.phrase(store.look.locked ? "here.locked" : "here.hovers");
      const where = store.sight.isWhole ? phrase("here.units") : store.sight.inWords(neuron);
      say(this.note, phrase("here.note", { where, layer, how }));
    }
  }

  private tile(): Tile {
    const image = still();
    const caption = el("span", { class: "caption" });
    const root = el("button", { type: "button", class: "tile" }, image, caption);
    const tile = { root, image, caption, channel: 0 };
    root.addEventListener("click", () => {
      // One that is disabled would lose the focus, and the keys with it.
      if (root.getAttribute("aria-disabled") === "false")
        this.store.sight.select(this.store.selection.layer, tile.channel);
    });
    return tile;
  }

  private drawTile(tile: Tile, ranked: [channel: number, value: number] | undefined): void {
    const { root, image, caption } = tile;
    root.setAttribute("aria-disabled", String(!ranked));
    if (!ranked) {
      root.setAttribute("aria-label", phrase("here.none"));
      say(caption, " ");
      image.classList.add("none");
      return;
    }
    const { store } = this;
    const { layer, channel } = store.selection;
    const [unit, value] = ranked;
    const name = `${layer}:${unit}`;
    root.setAttribute("aria-label", phrase("here.answers", { name, value: short(value) }));
    root.setAttribute("aria-pressed", String(unit === channel));
    tile.channel = unit;
    write(caption, store.nameOf(layer, unit), short(value));
    const made = store.imageOf(layer, unit);
    const isReal = made ? showWanted(image, made.page, made.index) : false;
    image.classList.toggle("none", !made);
    root.classList.toggle("making", !made && store.isAsked("here"));
    image.alt = this.phrase(isReal ? "image.real" : made ? "image.of" : "image.notMade", { name });
  }
}
