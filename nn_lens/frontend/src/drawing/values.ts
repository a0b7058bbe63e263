/** Numbers with names as bars, one below the other on one scale: what a layer without places answers. */
import { VirtualList } from "../finding/list";
import { el, say, short } from "./dom";

/** Bars in the order in which they are to be drawn. */
export interface Bars {
  /** Numbers of the units, what they are called, and their values. */
  units: number[];
  name(unit: number): string;
  value(unit: number): number;
  /** The unit that is marked. */
  selected: number;
  label: string;
}

const LINE = 20;

export class BarList {
  readonly root: HTMLElement;
  private readonly list: VirtualList;
  private bars: Bars | null = null;
  private low = 0;
  private high = 1;

  constructor(label: string, chosen: (unit: number) => void) {
    this.list = new VirtualList(
      label,
      LINE,
      (index, into) => this.draw(index, into),
      (index) => this.bars && chosen(this.bars.units[index]),
    );
    this.root = el("div", { class: "bars" }, this.list.root);
  }

  close(): void {
    this.list.close();
  }

  show(bars: Bars): void {
    this.bars = bars;
    const values = bars.units.map((unit) => bars.value(unit));
    this.low = Math.min(0, ...values);
    this.high = Math.max(0, ...values, this.low === 0 ? 1e-9 : 0);
    this.list.root.setAttribute("aria-label", bars.label);
    this.list.show(bars.units.length, bars.units.indexOf(bars.selected));
  }

  private draw(index: number, into: HTMLElement): void {
    const { bars } = this;
    if (!bars || index >= bars.units.length) return;
    if (!into.childElementCount) {
      const [who, piece, much] = [
        el("span", { class: "who" }),
        el("div", { class: "piece" }),
        el("span", { class: "much" }),
      ];
      into.append(who, el("div", { class: "track" }, piece), much);
    }
    const [who, track, much] = into.children as unknown as HTMLElement[];
    const unit = bars.units[index];
    const [name, value] = [bars.name(unit), bars.value(unit)];
    say(who, name);
    into.title = `${name}: ${short(value)}`;
    say(much, short(value));
    const share = (v: number) => (100 * (v - this.low)) / (this.high - this.low || 1);
    const [from, to] = [share(Math.min(0, value)), share(Math.max(0, value))];
    const piece = track.firstElementChild as HTMLElement;
    piece.className = value < 0 ? "piece less" : "piece more";
    piece.style.left = `${from}%`;
    piece.style.width = `${Math.max(0.3, to - from)}%`;
  }
}
