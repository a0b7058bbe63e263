/** The real pictures that move the selected unit least to most, their histogram, and what its picture is worth. */
import { el, say, short } from "../drawing/dom";
import { bitmap, drawFrom } from "../drawing/sheet";
import { show, still } from "../drawing/still";
import { floats, type Message } from "../panel/protocol";
import type { Store } from "../panel/store";
import { STRINGS } from "../panel/strings";
import { phrase } from "../panel/words";
import { AnswerView } from "./view";

/** A number about a maximizing image that explains itself; null is not to be had. */
export interface Badge {
  name: string;
  value: number | null;
  text: string;
  warning: boolean;
}

/** Real pictures from the one that activates a unit least to the one that activates it most, side by side in one bitmap. */
export interface Spectrum {
  layer: string;
  channel: number;
  count: number;
  total: number | null;
  skipped: number;
  finished: boolean;
  tiles: number;
  activations: number[];
  liveliness: Badge;
  weights: number;
  sheet: ImageBitmap | null;
  /** The values below which 0 to 100 percent of the pictures lie. */
  quantiles: Float32Array;
  counts: Float32Array;
  edges: Float32Array;
}

export async function decodeExamples(head: Message, [sheet, ...numbers]: DataView[]): Promise<Spectrum> {
  const [quantiles, counts, edges] = numbers.map(floats);
  return { ...(head as unknown as Spectrum), quantiles, counts, edges, sheet: await bitmap(sheet) };
}

export function decodeTrust(head: Message): Badge[] {
  return head.badges as Badge[];
}

/** What each number asks, in plain words. */
const PLAIN: Record<string, string> = STRINGS.checks;
const RECTIFIER = /relu|elu|silu|swish|mish|sigmoid|softplus|hardtanh/i;

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [400, 64];

export class ExamplesView extends AnswerView<"examples"> {
  private readonly row = el("div", { class: "spectrum", role: "group" });
  private readonly chart = document.createElementNS(SVG, "svg");
  private readonly axis = el("div", { class: "axis" });
  private readonly explained = el("p", { class: "words" });
  private readonly verdict = el("p", { class: "words verdict", role: "status" });
  private readonly badges = el("div", { class: "badges", "aria-live": "polite" });
  private readonly button = el("button", {
    type: "button",
    class: "judge",
    onclick: () => this.store.asking.demand("trust"),
  });
  /** The activation that the maximizing image is drawn with. */
  private marked: number | undefined;
  private told: Badge[] | null = null;

  constructor(store: Store) {
    super(store, "examples", "examples");
    this.row.setAttribute("aria-label", this.phrase("examples.label"));
    say(this.button, this.phrase("examples.ask"));
    this.chart.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    this.chart.setAttribute("preserveAspectRatio", "none");
    this.chart.setAttribute("role", "img");
    this.chart.classList.add("histogram");
    this.body.append(this.row, this.chart, this.axis, this.explained, this.button, this.verdict, this.badges);
  }

  override draw(): void {
    const reached = this.store.reached();
    if (reached !== this.marked) this.repaint();
    this.marked = reached;
    super.draw();
    this.drawBadges();
  }

  protected shown({ layer, channel, finished }: Spectrum): string {
    return `${layer}:${channel} ${finished ? "finished" : "running"}`;
  }

  protected tell({ count, total, finished, skipped, tiles, layer, channel }: Spectrum): string {
    if (finished && !tiles)
      return phrase("examples.none", { count, what: this.counted(), unit: `${layer}:${channel}` });
    const values = {
      count: count.toLocaleString("en"),
      total: total?.toLocaleString("en") ?? "",
      what: this.counted(),
    };
    const key = finished ? "examples.count" : total === null ? "examples.countSoFar" : "examples.countSoFarOf";
    return phrase(key, values) + (skipped ? phrase("examples.unread", { skipped }) : "");
  }

  protected waiting(): string {
    return phrase("examples.waiting");
  }

  protected paint(spectrum: Spectrum): void {
    this.drawRow(spectrum, this.marked);
    this.drawChart(spectrum, this.marked);
  }

  private drawRow(spectrum: Spectrum, reached: number | undefined): void {
    const { sheet, tiles, activations, layer, channel } = spectrum;
    this.row.hidden = !tiles;
    const figures = Array.from({ length: tiles }, (_, i) => {
      const value = short(activations[i]);
      const end = i === 0 ? phrase("least") : i === tiles - 1 ? phrase("most") : "";
      const label = this.phrase("examples.alt", { unit: `${layer}:${channel}`, value });
      const canvas = el("canvas", { role: "img", "aria-label": label });
      if (sheet) drawFrom(canvas, sheet, i, tiles);
      const words = end ? [el("span", { class: "who" }, end), " "] : [];
      const much = el("span", { class: "much" }, value);
      return el("figure", {}, canvas, el("figcaption", { class: "caption" }, ...words, much));
    });
    const value = reached === undefined ? "…" : short(reached);
    const label = this.phrase("image.alt", { unit: `${layer}:${channel}`, value });
    const image = still({ alt: label });
    const made = reached === undefined ? null : this.store.imageOf(layer, channel);
    if (made) show(image, made.page.pictures[made.index]);
    const much = el("span", { class: "much" }, value);
    const caption = el(
      "figcaption",
      { class: "caption" },
      el("span", { class: "who" }, phrase("examples.image")),
      " ",
      much,
    );
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
    const values = { count: spectrum.count, low: short(low), top: short(top), reached: short(reached ?? Number.NaN) };
    const label = reached === undefined ? "examples.histogram" : "examples.histogramReached";
    this.chart.setAttribute("aria-label", this.phrase(label, values));
    this.axis.replaceChildren(el("span", {}, short(low)), el("span", {}, short(high)));
    const begun = spectrum.finished ? "" : phrase("examples.verdictSoFar");
    say(this.explained, reached === undefined ? "" : begun + this.words(inWords(spectrum, reached)));
  }

  private drawBadges(): void {
    const { store } = this;
    const [spectrum, trust, asked] = [store.answer("examples"), store.answer("trust"), store.isAsked("trust")];
    const badges = (trust ?? (spectrum?.finished ? [spectrum.liveliness] : [])).map((badge) => this.fair(badge));
    say(this.verdict, trust && !asked ? this.words(verdict(badges)) : "");
    this.button.hidden = !spectrum || trust !== undefined || asked;
    this.badges.classList.toggle("running", asked);
    this.badges.dataset.running = phrase("examples.judging");
    if (this.told && same(this.told, badges)) return;
    const open = new Set([...this.badges.querySelectorAll<HTMLElement>("details[open]")].map((e) => e.dataset.name));
    this.badges.replaceChildren(
      ...badges.map(({ name, value, text: told, warning }) => {
        const text = this.words(told);
        const number = ` ${value === null ? "–" : short(value)}${warning ? " ⚠" : ""}`;
        const summary = el("summary", { title: text }, el("b", {}, this.words(PLAIN[name] ?? name)), number);
        const details = el("details", { class: warning ? "badge warning" : "badge" }, summary, text);
        details.dataset.name = name;
        details.open = open.has(name);
        return details;
      }),
    );
    this.told = badges;
  }

  /** To be above 0 for every picture is a fault of rectified units only. */
  private fair(badge: Badge): Badge {
    const usual = badge.name === "liveliness" && (badge.value ?? 0) > 0.5 && !RECTIFIER.test(this.store.layer.kind);
    return usual ? { ...badge, warning: false } : badge;
  }
}

/** What the numbers say together. */
export function verdict(badges: Badge[]): string {
  const against = badges.filter(({ warning }) => warning).map(({ name }) => PLAIN[name] ?? name);
  if (!badges.length) return "";
  const values = { count: badges.length, against: against.length, which: against.join("; ") };
  if (!against.length) return phrase("verdict.good", values);
  const which = phrase(against.length === 1 ? "verdict.one" : "verdict.some", values);
  return `${phrase(against.length * 2 < badges.length ? "verdict.care" : "verdict.bad")} ${which}`;
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
function inWords(spectrum: Spectrum, reached: number): string {
  const { quantiles, count } = spectrum;
  const below = Math.max(0, quantiles.filter((value) => value < reached).length - 1);
  const values = { reached: short(reached), count: count.toLocaleString("en"), below };
  return phrase(below >= 100 ? "examples.above" : below === 0 ? "examples.below" : "examples.among", values);
}
