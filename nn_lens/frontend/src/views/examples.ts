/** The real pictures that move the selected unit least to most, their histogram, and what its picture is worth. */
import { el, say, short } from "../shared/dom";
import type { Badge, Spectrum } from "../shared/protocol";
import type { Store } from "../shared/store";
import { View } from "./view";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [400, 64];

export class ExamplesView extends View {
  private readonly row = el("div", { class: "spectrum", role: "group", "aria-label": "pictures from least to most" });
  private readonly chart = document.createElementNS(SVG, "svg");
  private readonly axis = el("div", { class: "axis" });
  private readonly words = el("p", { class: "words" });
  private readonly badges = el("div", { class: "badges", "aria-live": "polite" });
  private readonly button = el(
    "button",
    { type: "button", class: "judge", onclick: () => this.store.judge() },
    "How far may I believe the maximizing image?",
  );
  private drawn: Spectrum | null = null;
  private marked: number | undefined;
  private told: Badge[] | null = null;

  constructor(store: Store) {
    super(store, "examples", "Dataset examples, from least to most");
    this.chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.chart.setAttribute("preserveAspectRatio", "none");
    this.chart.setAttribute("role", "img");
    this.chart.classList.add("histogram");
    this.body.append(this.row, this.chart, this.axis, this.words, this.button, this.badges);
  }

  draw(): void {
    const { store } = this;
    const failure = store.failure("examples");
    const spectrum = store.spectrum();
    this.stale(!spectrum && !failure);
    this.empty(failure);
    const reached = store.reached();
    if (spectrum && (spectrum !== this.drawn || reached !== this.marked)) {
      this.drawRow(spectrum, reached);
      this.drawChart(spectrum, reached);
      this.drawn = spectrum;
      this.marked = reached;
    }
    this.drawBadges(spectrum);
    this.root.dataset.shown = spectrum
      ? `${spectrum.layer}:${spectrum.channel} ${spectrum.finished ? "finished" : "running"}`
      : "";
    if (!failure) this.tell(spectrum);
  }

  private tell(spectrum: Spectrum | undefined): void {
    if (!spectrum) return say(this.note, "looking at the first pictures …");
    const of = spectrum.total === null || spectrum.finished ? "" : ` of ${spectrum.total}`;
    const skipped = spectrum.skipped ? `; ${spectrum.skipped} could not be read` : "";
    say(this.note, `${spectrum.finished ? "" : "so far "}${spectrum.count}${of} pictures${skipped}`);
  }

  private drawRow(spectrum: Spectrum, reached: number | undefined): void {
    const { sheet, tiles, activations, layer, channel } = spectrum;
    this.row.hidden = !tiles;
    const figures = Array.from({ length: tiles }, (_, i) => {
      const value = short(activations[i]);
      const end = i === 0 ? "least " : i === tiles - 1 ? "most " : "";
      const canvas = el("canvas", { role: "img" });
      canvas.setAttribute("aria-label", `Picture that moves ${layer}:${channel} to ${value}`);
      if (sheet) {
        canvas.width = sheet.width / tiles;
        canvas.height = sheet.height;
        canvas.getContext("2d")?.drawImage(sheet, -i * canvas.width, 0);
      }
      return el("figure", {}, canvas, el("figcaption", { class: "caption" }, `${end}${value}`));
    });
    const image = el("canvas", { role: "img" });
    const value = reached === undefined ? "…" : short(reached);
    image.setAttribute("aria-label", `Maximizing image of ${layer}:${channel}, activation ${value}`);
    if (reached !== undefined) this.store.drawImage(image);
    const caption = el("figcaption", { class: "caption" }, `maximizing ${value}`);
    this.row.replaceChildren(...figures, el("figure", { class: "image" }, image, caption));
  }

  /** The histogram, and where the maximizing image stands on its axis. */
  private drawChart(spectrum: Spectrum, reached: number | undefined): void {
    const { counts, edges } = spectrum;
    const low = edges[0];
    const top = edges[edges.length - 1];
    const high = Math.max(top, reached ?? top);
    const at = (value: number) => (high > low ? ((value - low) / (high - low)) * WIDTH : 0);
    const most = Math.sqrt(Math.max(1, ...counts));
    const bars = [...counts].map((count, i) => {
      const height = (Math.sqrt(count) / most) * (HEIGHT - 2);
      const [x, width] = [at(edges[i]), Math.max(0.5, at(edges[i + 1]) - at(edges[i]) - 0.5)];
      return shape("rect", { x, y: HEIGHT - height, width, height, class: "count" });
    });
    const mark =
      reached === undefined
        ? []
        : [shape("line", { x1: at(reached), x2: at(reached), y1: 0, y2: HEIGHT, class: "reached" })];
    this.chart.replaceChildren(...bars, ...mark);
    const where = reached === undefined ? "" : `; the maximizing image reaches ${short(reached)}`;
    this.chart.setAttribute(
      "aria-label",
      `Histogram of ${spectrum.count} activations from ${short(low)} to ${short(top)}${where}`,
    );
    this.axis.replaceChildren(el("span", {}, short(low)), el("span", {}, short(high)));
    say(this.words, reached === undefined ? "" : words(spectrum, reached));
  }

  private drawBadges(spectrum: Spectrum | undefined): void {
    const badges = this.store.badges() ?? (spectrum ? [spectrum.liveliness] : []);
    const all = this.store.badges() && !this.store.judging;
    this.button.hidden = !spectrum || Boolean(all) || this.store.judging;
    this.badges.classList.toggle("running", this.store.judging);
    if (this.told && same(this.told, badges)) return;
    const open = new Set([...this.badges.querySelectorAll("details[open] b")].map((name) => name.textContent));
    this.badges.replaceChildren(
      ...badges.map((badge) => {
        const value = badge.value === null ? "–" : short(badge.value);
        const name = el("b", {}, badge.name);
        const summary = el("summary", { title: badge.text }, name, ` ${value}${badge.warning ? " ⚠" : ""}`);
        const details = el("details", { class: badge.warning ? "badge warning" : "badge" }, summary, badge.text);
        details.open = open.has(badge.name);
        return details;
      }),
    );
    this.told = badges;
  }
}

function shape(name: string, attributes: Record<string, string | number>): SVGElement {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, String(value));
  return node;
}

function same(a: Badge[], b: Badge[]): boolean {
  return a.length === b.length && a.every((badge, i) => badge.text === b[i].text);
}

/** Where the maximizing image stands among the pictures, in words. */
function words(spectrum: Spectrum, reached: number): string {
  const { quantiles, count } = spectrum;
  const below = quantiles.filter((value) => value < reached).length - 1;
  const share = below >= 100 ? "all" : `${Math.max(0, below)} % of the`;
  return (
    `The line is the maximizing image, at ${short(reached)}: above ${share} ${count} pictures. ` +
    "It is the peak of what the unit answers to, an exaggeration; typical pictures look like those above."
  );
}
