/** What the kernel has answered for one state of the weights, by kind and by key. Knows no kind: views decode their own. */
import type { Message } from "./protocol";
import type { What } from "./questions";

/** Makes a message's answer of its head and buffers; `before` is what was kept under the same key. */
export type Decode = (head: Message, buffers: DataView[], before: unknown) => unknown;

/** Parts of an answer that take memory: a sheet of pictures, which has to be closed, single pictures, levels of tiles. */
interface Large {
  sheet?: ImageBitmap | null;
  pictures?: HTMLImageElement[];
  /** Of those of a page that have one, a real picture. */
  real?: (HTMLImageElement | null)[];
  levels?: Uint8Array;
}

interface Kept {
  value: unknown;
  /** Answers are decoded one after the other, so that what is older never takes the place of what is newer. */
  last: Promise<void> | null;
}

export class Answers {
  private readonly kept = new Map<What, Map<string, Kept>>();
  /** Kinds and keys whose questions have been answered to the end. */
  private readonly complete = new Set<string>();
  private closed = false;

  /** `arrived` is called when an answer that took time has been decoded. */
  constructor(private readonly arrived: () => void) {}

  get(what: What, key: string): unknown {
    return this.kept.get(what)?.get(key)?.value;
  }

  /** All answers of a kind. */
  *all(what: What): Iterable<unknown> {
    for (const { value } of this.kept.get(what)?.values() ?? []) if (value !== undefined) yield value;
  }

  isComplete(what: What, key: string): boolean {
    return this.complete.has(`${what} ${key}`);
  }

  finish(what: What, key: string): void {
    this.complete.add(`${what} ${key}`);
  }

  /** Keeps a message's answer. */
  keep(what: What, key: string, head: Message, buffers: DataView[], decode: Decode): void {
    const answers = this.kept.get(what) ?? new Map<string, Kept>();
    this.kept.set(what, answers);
    const kept = answers.get(key) ?? { value: undefined, last: null };
    // What was used last stands last.
    answers.delete(key);
    answers.set(key, kept);
    const decoded = kept.last
      ? kept.last.then(() => decode(head, buffers, kept.value))
      : decode(head, buffers, kept.value);
    if (!(decoded instanceof Promise)) {
      this.replace(kept, decoded);
      return;
    }
    kept.last = decoded.then((value) => {
      if (this.closed || answers.get(key) !== kept) release(value);
      else this.replace(kept, value);
      this.arrived();
    });
  }

  forget(what: What, key: string): void {
    const kept = this.kept.get(what)?.get(key);
    this.kept.get(what)?.delete(key);
    this.complete.delete(`${what} ${key}`);
    release(kept?.value);
  }

  /** Bytes of all pictures and levels. */
  size(): number {
    let size = 0;
    for (const answers of this.kept.values()) for (const { value } of answers.values()) size += bytesOf(value);
    return size;
  }

  /** Lets go of those of a kind that were longest unused until at most `most` bytes of them are left, but not of `used`. */
  shrink(what: What, most: number, used: string): void {
    const answers = this.kept.get(what) ?? new Map<string, Kept>();
    let size = 0;
    for (const { value } of answers.values()) size += bytesOf(value);
    for (const [key, { value }] of answers) {
      if (size <= most) break;
      if (key === used) continue;
      size -= bytesOf(value);
      this.forget(what, key);
    }
  }

  close(): void {
    this.closed = true;
    for (const answers of this.kept.values()) for (const { value } of answers.values()) release(value);
  }

  private replace(kept: Kept, value: unknown): void {
    const still = new Set(parts(value).map(({ sheet }) => sheet));
    for (const { sheet } of parts(kept.value)) if (sheet && !still.has(sheet)) sheet.close();
    kept.value = value;
  }
}

/** An answer, or the answers of a list, as far as they may be large. */
function parts(value: unknown): Large[] {
  const each = Array.isArray(value) ? value : [value];
  return each.filter((one): one is Large => typeof one === "object" && one !== null);
}

function bytesOf(value: unknown): number {
  const area = (pictures: { width: number; height: number }[]) =>
    pictures.reduce((sum, p) => sum + p.width * p.height, 0);
  return parts(value).reduce(
    (sum, { sheet, pictures = [], real = [], levels }) =>
      sum +
      4 * area([...(sheet ? [sheet] : []), ...pictures, ...real.filter((one) => one !== null)]) +
      (levels?.length ?? 0),
    0,
  );
}

function release(value: unknown): void {
  for (const { sheet } of parts(value)) sheet?.close();
}
