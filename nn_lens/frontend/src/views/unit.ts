/** The selected unit on one card: filter, the pictures it wants most and least, its map, its numbers, its address. */

import { drawnSize, paintBars } from "../drawing/bars";
import { copied, el, say, short, caption as write } from "../drawing/dom";
import { markStale } from "../drawing/stale";
import { show } from "../drawing/still";
import { drawTile, type Stack, valueAt } from "../drawing/tiles";
import type { Store } from "../panel/store";
import { cut, phrase, placeInWords } from "../panel/words";
import { Wanted } from "./maximization";
import { View } from "./view";

/** A figure of the card, whose picture is of type P; `drawn` says what it shows. */
interface Tile<P> {
  root: HTMLElement;
  picture: P;
  caption: HTMLElement;
  drawn: string;
}

export class UnitView extends View {
  private readonly filter = drawing();
  private readonly most = tile((root) => new Wanted(root));
  private readonly least = tile((root) => new Wanted(root), phrase("unit.waitingLeast"));
  private readonly map = drawing();
  private readonly numbers = el("dl", { class: "numbers" });
  private readonly address = el("code", { class: "address" });
  /** The unit as Python. */
  private code = "";
  private told = "";

  constructor(store: Store) {
    super(store, "unit", "unit-card");
    const copy = (text: () => string, what: string) => {
      const button = el("button", { type: "button" }, what);
      button.addEventListener("click", async () => {
        say(button, (await copied(text())) ? phrase("copied") : phrase("unit.refused"));
        window.setTimeout(() => say(button, what), 1500);
      });
      return button;
    };
    this.tools.append(
      this.address,
      copy(() => this.code, phrase("unit.copy")),
      copy(() => store.code(), phrase("unit.copyCode")),
    );
    const tiles = [this.filter, this.most, this.least, this.map].map(({ root }) => root);
    this.body.classList.add("unit-row");
    this.body.append(...tiles, this.numbers);
  }

  draw(): void {
    const { store } = this;
    const { layer, channel, row, column } = store.selection;
    const place = row === null || column === null ? [] : store.sight.placeOf({ row, column });
    const numbers = place.map((n) => `, ${n}`).join("");
    const name = store.nameOf(layer, channel);
    say(this.heading, `${this.title} ${cut(name, 30)}`);
    this.heading.title = `${layer}:${name}`;
    say(this.address, `nl.Unit("${cut(layer, 28)}", ${channel}${numbers})`);
    this.address.title = this.code = `nl.Unit("${layer}", ${channel}${numbers})`;
    this.drawFilter();
    this.drawImages();
    this.drawMap();
    this.root.dataset.shown = `${layer}:${channel}`;
  }

  private drawFilter(): void {
    const { store, filter } = this;
    const { layer, channel } = store.selection;
    filter.root.classList.toggle("none", !store.layer.filter);
    if (!store.layer.filter) {
      this.noFilter();
      return;
    }
    const stack = store.answer("filters");
    markStale(filter.picture, !stack);
    filter.root.title = "";
    const key = `${layer}:${channel} ${stack?.weights} ${store.topKey("filters")}`;
    if (!stack || filter.drawn === key) return;
    filter.drawn = key;
    if (stack.height * stack.width === 1 && stack.planes > 1) {
      this.drawWeights(stack, channel);
      return;
    }
    const plane = stack.colour === "rgb" ? 0 : strongestPlane(stack, channel);
    drawTile(filter.picture, stack, channel, plane, store.colours, store.topOf("filters")(channel));
    const whole = stack.colour === "rgb" || stack.planes === 1;
    const values = { unit: `${layer}:${channel}`, plane, planes: stack.planes };
    say(filter.caption, phrase(whole ? "unit.filter" : "unit.slice", values));
    filter.picture.setAttribute("aria-label", phrase(whole ? "unit.filterAlt" : "unit.sliceAlt", values));
  }

  /** The weights to single inputs as bars, since one of them alone would be a square of one colour. */
  private drawWeights(stack: Stack, channel: number): void {
    const { picture: canvas, caption } = this.filter;
    const size = drawnSize({ height: 1, width: stack.planes });
    const image = new ImageData(size.width, size.height);
    canvas.width = size.width;
    canvas.height = size.height;
    const most = Math.max(...stack.ranges.slice(2 * (channel - stack.start), 2 * (channel - stack.start) + 2));
    paintBars((plane) => valueAt(stack, channel, plane, 0, 0), stack.planes, most, true, size, image.data);
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    const values = { unit: `${stack.layer}:${channel}`, planes: stack.planes };
    say(caption, phrase("unit.weights", values));
    canvas.setAttribute("aria-label", phrase("unit.weightsAlt", values));
  }

  /** Names the nearest layer before this one that has filters. */
  private noFilter(): void {
    const { network, layer } = this.store;
    const before = network.layers
      .slice(0, network.layers.indexOf(layer))
      .reverse()
      .find((each) => each.filter);
    const values = { layer: layer.name, before: before?.name ?? "" };
    const caption = phrase(before ? "unit.noFilterBut" : "unit.noFilter", values);
    this.none(this.filter, caption, phrase(before ? "unit.noFilterButWhy" : "unit.noFilterWhy", values));
  }

  private drawImages(): void {
    const { store, most, least } = this;
    const { layer, channel } = store.selection;
    const page = store.answer("page");
    markStale(most.picture.image, !page);
    const index = page ? page.channels.indexOf(channel) : -1;
    const key = `${layer}:${channel} ${page?.step} ${page?.finished} ${page?.weights}`;
    const reached = page?.activations[index] ?? null;
    if (page && reached !== null && most.drawn !== key) {
      const unit = `${layer}:${channel}`;
      const alt = this.phrase("image.alt", { unit, value: short(reached) });
      const value = most.picture.paint(page, index, alt, (more) => phrase("image.ofReal", { unit, value: more }));
      most.drawn = key;
      write(most.caption, phrase("unit.most"), value);
    }
    if (page?.finished && reached === null) {
      const note = page.notes[index] || phrase("unit.noImage");
      this.none(most, phrase("unit.most"), note);
    }
    const failure = store.failure("negative");
    const negative = store.answer("negative");
    markStale(least.picture.image, !negative);
    least.root.title = "";
    this.forget(least, `${layer}`);
    this.forget(most, `${layer}`);
    if (failure) this.none(least, phrase("unit.least"), failure);
    const sign = `${layer}:${channel} ${negative?.weights}`;
    if (negative && least.drawn !== sign) {
      const { image } = least.picture;
      show(image, negative.pictures[0]);
      least.drawn = sign;
      const value = short(negative.activations[0] ?? Number.NaN);
      write(least.caption, phrase("unit.least"), value);
      image.alt = this.phrase("unit.leastAlt", { unit: `${layer}:${channel}`, value });
    }
  }

  /** What is left of another layer is no stale state of this one: it goes. */
  private forget(of: Tile<Wanted>, layer: string): void {
    if (!of.drawn || of.drawn.startsWith(`${layer}:`)) return;
    of.drawn = "";
    of.picture.clear(phrase("card.absent"));
    say(of.caption, phrase(of === this.most ? "unit.waiting" : "unit.waitingLeast"));
  }

  private drawMap(): void {
    const { store, map } = this;
    const { layer, channel, row, column } = store.selection;
    const stack = store.answer("maps");
    markStale(map.picture, !stack);
    if (!stack) {
      const failure = store.failure("maps");
      if (!failure) return;
      this.none(map, phrase("unit.noMap"), failure);
      this.told = "";
      this.numbers.replaceChildren();
      return;
    }
    const single = stack.height * stack.width === 1;
    map.root.hidden = single;
    const key = `${store.picture?.key} ${layer}:${channel} ${stack.weights} ${store.topKey("maps")}`;
    if (map.drawn !== key && !single) {
      drawTile(map.picture, stack, channel, 0, store.colours, store.topOf("maps")(channel));
      map.drawn = key;
      say(map.caption, phrase("unit.map", { name: store.picture?.name || this.phrase("picture.yours") }));
      map.picture.setAttribute("aria-label", phrase("unit.mapAlt", { unit: `${layer}:${channel}` }));
    }
    const n = channel - stack.start;
    const { layer: shown, network } = store.sight;
    const where = placeInWords([...stack.where.slice(3 * n + 3 - shown.places.length, 3 * n + 3)], shown, network.kind);
    const rows: [string, string][] = single
      ? [[phrase("unit.answers"), short(stack.largest[n])]]
      : [
          [phrase("unit.largest"), phrase("unit.largestAt", { value: short(stack.largest[n]), where })],
          [phrase("unit.mean"), short(stack.mean[n])],
          [phrase("unit.active"), phrase("unit.activeShare", { share: (100 * stack.active[n]).toFixed(0) })],
        ];
    if (row !== null && column !== null && !single)
      rows.push([
        phrase("unit.at", { place: store.sight.placeOf({ row, column }).join(", ") }),
        short(valueAt(stack, channel, 0, row, column)),
      ]);
    const told = JSON.stringify(rows);
    if (told === this.told) return;
    this.told = told;
    this.numbers.replaceChildren(...rows.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
  }

  private none(of: Tile<Wanted> | Tile<HTMLCanvasElement>, caption: string, why: string): void {
    say(of.caption, caption);
    of.root.title = why;
    of.drawn = "";
    if (of.picture instanceof Wanted) of.picture.clear(why);
    else {
      of.picture.width = of.picture.height = 1;
      of.picture.setAttribute("aria-label", why);
    }
    markStale(of.picture instanceof Wanted ? of.picture.image : of.picture, false);
  }
}

/** The plane of a unit's filter with the largest weight. */
function strongestPlane(stack: Stack, channel: number): number {
  const size = stack.height * stack.width;
  const at = (channel - stack.start) * stack.planes * size;
  const strengths = Array.from({ length: stack.planes }, (_, plane) => {
    const levels = stack.levels.subarray(at + plane * size, at + (plane + 1) * size);
    return levels.reduce((most, level) => Math.max(most, Math.abs(level - 128)), 0);
  });
  return strengths.indexOf(Math.max(...strengths));
}

function tile<P>(pictureIn: (root: HTMLElement) => P, waiting = phrase("unit.waiting")): Tile<P> {
  const root = el("figure", {});
  const picture = pictureIn(root);
  const caption = el("figcaption", { class: "caption" }, waiting);
  root.append(caption);
  return { root, picture, caption, drawn: "" };
}

/** A figure that is drawn here, at each move of a slider. */
function drawing(): Tile<HTMLCanvasElement> {
  return tile((root) => root.appendChild(el("canvas", { role: "img", "aria-label": phrase("card.absent") })));
}
