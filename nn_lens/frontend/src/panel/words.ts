/** What an input is called. Texts are written for pictures; networks that read something else have their own word there. */
import type { Layer, Network } from "./protocol";
import { type Phrase, STRINGS, type Values } from "./strings";

export type InputKind = "picture" | "signal" | "volume" | "sequence" | "vector";

const NOUNS: Record<InputKind, string> = STRINGS.nouns;

/** A text about pictures as one about what a network of this kind reads. */
export function reworded(text: string, kind: InputKind): string {
  if (kind === "picture") return text;
  const noun = NOUNS[kind];
  return text
    .replace(/\b(?:(an?) )?(picture|image)(s?)\b/gi, (_, article: string | undefined, word: string, s: string) => {
      const own = word[0] === word[0].toUpperCase() ? noun[0].toUpperCase() + noun.slice(1) : noun;
      const a = article && STRINGS.articles[kind];
      const first = a && article[0] === "A" ? `A${a.slice(1)}` : a;
      return `${first ? `${first} ` : ""}${own}${s}`;
    })
    .replace(/\bpixel(s?)\b/g, "place$1");
}

/**
 * A text of the catalogue with its {values}, as one about what a network of this kind reads; of {count|unit|units} it has the
 * first word for one, else the second.
 */
export function phrase(key: Phrase, values: Values = {}, kind: InputKind = "picture"): string {
  const text = reworded(STRINGS.phrases[key], kind);
  return text.replace(/\{(\w+)(?:\|([^|}]*)\|([^}]*))?\}/g, (whole, name, one, more) => {
    const value = values[name];
    if (one === undefined) return String(value ?? whole);
    return Number(value) === 1 ? one : more;
  });
}

/** The shape of an input, as Python writes it. */
export function shapeOf({ shape }: Network): string {
  return `(${shape.join(", ")}${shape.length === 1 ? "," : ""})`;
}

/** Whether an input has one row, so that it is drawn as a chart as wide as there is room. */
export function isWide({ kind }: Network): boolean {
  return kind === "signal" || kind === "sequence" || kind === "vector";
}

/** Whether a layer has one place, which is all that its network reads. */
export function isWhole(places: number[], kind: InputKind): boolean {
  return kind !== "picture" && places.every((n) => n === 1);
}

/** A place in words, of its numbers as a Unit has them. */
export function placeInWords(place: number[], { places }: Pick<Layer, "places">, kind: InputKind): string {
  if (isWhole(places, kind)) return phrase("place.whole", {}, kind);
  const [column, row = 0, slice = 0] = [...place].reverse();
  const key = (["place.one", "cell.one", "cell.inSlice"] as const)[place.length - 1];
  return phrase(key, place.length === 1 ? { place: column } : { slice, row, column });
}

/** The name of a unit: its number, and the class that it is of. */
export function unitName({ labels, layers }: Network, layer: string, channel: number): string {
  const label = layers.find(({ name }) => name === layer)?.classes ? labels[channel] : undefined;
  return label === undefined ? String(channel) : `${channel} · ${label}`;
}

/** A text of at most so many letters, cut in its middle, since names differ at their ends. */
export function cut(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.floor((most - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (most - 1 - head))}`;
}
