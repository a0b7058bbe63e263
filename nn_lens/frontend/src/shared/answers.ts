/** What the kernel has answered for one state of the weights, by kind and by key. */
import {
  type Ablation,
  type Arithmetic,
  type Attribution,
  type Badge,
  type Beside,
  type Blocks,
  bytes,
  type Embedding,
  floats,
  type Incoming,
  type Message,
  type Page,
  type Score,
  type Spectrum,
  type Stack,
} from "./protocol";

/** Something with a sheet of pictures, which takes memory until it is closed. */
interface Drawn {
  sheet: ImageBitmap | null;
}

export class Answers {
  readonly stacks = new Map<string, Stack>();
  readonly pages = new Map<string, Page>();
  readonly scores = new Map<string, Score[]>();
  readonly spectra = new Map<string, Spectrum>();
  readonly badges = new Map<string, Badge[]>();
  readonly attributions = new Map<string, Attribution[]>();
  readonly ablations = new Map<string, Ablation>();
  readonly incoming = new Map<string, Incoming>();
  readonly sums = new Map<string, Arithmetic>();
  readonly blocks = new Map<string, Blocks>();
  readonly besides = new Map<string, Beside>();
  readonly embeddings = new Map<string, Embedding>();
  /** Kinds and keys whose questions have been answered to the end. */
  readonly complete = new Set<string>();
  private closed = false;

  /** `arrived` is called when a picture has been decoded. */
  constructor(private readonly arrived: () => void) {}

  close(): void {
    this.closed = true;
    const drawn: Iterable<Drawn>[] = [
      this.pages.values(),
      this.spectra.values(),
      this.incoming.values(),
      this.blocks.values(),
      this.besides.values(),
      this.embeddings.values(),
      [...this.attributions.values()].flat(),
    ];
    for (const each of drawn) for (const { sheet } of each) sheet?.close();
  }

  /** Bytes of stacks and pages, which are most. */
  size(): number {
    let size = 0;
    for (const { levels } of this.stacks.values()) size += levels.length;
    for (const { sheet } of this.pages.values()) size += 4 * sheet.width * sheet.height;
    return size;
  }

  /** Lets go of the stacks that were longest unused until at most `most` bytes of them are left, but not of `used`. */
  shrink(most: number, used: string): void {
    let size = 0;
    for (const { levels } of this.stacks.values()) size += levels.length;
    for (const [key, { levels }] of this.stacks) {
      if (size <= most) break;
      if (key === used) continue;
      this.stacks.delete(key);
      size -= levels.length;
    }
  }

  /** Keeps a message's answer under `key`. */
  keep(key: string, content: Message, buffers: DataView[]): void {
    const found = content as unknown;
    switch (content.type) {
      case "stack":
        this.stacks.delete(key);
        this.stacks.set(key, stackOf(found as Stack, buffers));
        break;
      case "scores":
        this.scores.set(key, content.scores as Score[]);
        break;
      case "trust":
        this.badges.set(key, content.badges as Badge[]);
        break;
      case "ablation":
        this.ablations.set(key, found as Ablation);
        break;
      case "arithmetic":
        this.sums.set(key, { ...(found as Arithmetic), values: floats(buffers[0]) });
        break;
      case "page":
        // Bitmaps are decoded in no certain order: here and below, what is older does not take the place of what is newer.
        void this.draw(this.pages, key, found as Page, buffers[0], (old, now) => old.finished || old.step > now.step);
        break;
      case "blocks":
        void this.draw(this.blocks, key, blocksOf(found as Blocks, buffers), buffers[0], (old, now) =>
          Boolean(old.sheet && !now.sheet),
        );
        break;
      case "incoming":
        void this.draw(this.incoming, key, found as Incoming, buffers[0]);
        break;
      case "directions":
        void this.draw(this.besides, key, found as Beside, buffers[0], (old, now) => old.count > now.count);
        break;
      case "embedding":
        void this.draw(this.embeddings, key, embeddingOf(found as Embedding, buffers), buffers[2], (old, now) =>
          Boolean(old.finished && !now.finished),
        );
        break;
      case "examples":
        void this.draw(
          this.spectra,
          key,
          spectrumOf(found as Spectrum, buffers),
          buffers[0],
          (old, now) => old.count > now.count,
        );
        break;
      case "attribution":
        void this.keepAttribution(key, found as Attribution, buffers[0]);
    }
  }

  private async draw<T extends Drawn>(
    into: Map<string, T>,
    key: string,
    found: T,
    data: DataView | undefined,
    newer: (old: T, now: T) => boolean = () => false,
  ): Promise<void> {
    const sheet = await bitmap(data);
    const old = into.get(key);
    if (this.closed || (old && newer(old, found))) return sheet?.close();
    old?.sheet?.close();
    into.set(key, { ...found, sheet });
    this.arrived();
  }

  private async keepAttribution(key: string, found: Attribution, data?: DataView): Promise<void> {
    const list = this.attributions.get(key) ?? [];
    this.attributions.set(key, list);
    const entry = { ...found, sheet: null as ImageBitmap | null };
    list.push(entry);
    entry.sheet = await bitmap(data);
    if (this.closed) return entry.sheet?.close();
    this.arrived();
  }
}

async function bitmap(data: DataView | undefined): Promise<ImageBitmap | null> {
  return data?.byteLength ? createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
}

function stackOf(head: Stack, buffers: DataView[]): Stack {
  const [ranges, largest, mean, active, where] = buffers.slice(1).map(floats);
  return { ...head, levels: bytes(buffers[0]), ranges, largest, mean, active, where };
}

function blocksOf(head: Blocks, buffers: DataView[]): Blocks {
  const [strongest, values, maps] = buffers.slice(1).map(floats);
  return { ...head, strongest: new Int32Array(strongest.buffer), values, maps };
}

function spectrumOf(head: Spectrum, buffers: DataView[]): Spectrum {
  const [quantiles, counts, edges] = buffers.slice(1).map(floats);
  return { ...head, quantiles, counts, edges };
}

function embeddingOf(head: Embedding, [points, indices]: DataView[]): Embedding {
  return { ...head, points: floats(points), indices: new Int32Array(floats(indices).buffer) };
}
