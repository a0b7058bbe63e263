/**
 * What one widget knows: the selection, and everything the kernel has sent. Views read it and draw themselves
 * once per animation frame after a change; what they miss is asked for in that frame, so that a storm of
 * slider events becomes one question.
 */
import type { AnyModel } from "@anywidget/types";
import {
  type Ablation,
  type Arithmetic,
  type Attribution,
  type Badge,
  type Beside,
  bytes,
  type Embedding,
  type Field,
  floats,
  type Incoming,
  type Layer,
  type Network,
  type Page,
  type Picture,
  type Sample,
  type Score,
  type Selection,
  type Spectrum,
  type Stack,
  type What,
} from "./protocol";
import { reach, type Scale } from "./tiles";

/** Units on a page of maximizing images. */
export const PAGE = 12;
/** How long a selection has to stay before its maximizing images are asked for, in milliseconds. */
const REST = 60;
/** Bytes of stacks kept in the browser; the longest unused go first. */
const KEPT_BYTES = 192 << 20;
const CHUNK = 512 << 10;
/** Views that the "evidence" view shows together, beside the picture. */
export const EVIDENCE = ["examples", "attribution", "ablation", "incoming", "directions", "embedding"];

/** Views that have a tab of their own, and are not among "all". */
export const APART = ["kernel"];
/** Milliseconds until Python is told of a selection. */
const TELL = 20;
/** How many units are ranked at a place. */
export const RANKED = 8;

interface Open {
  id: number;
  key: string;
}

export class Store {
  readonly network: Network;
  readonly layers: Map<string, Layer>;
  readonly views: string[];
  readonly samples: Sample[];
  readonly colours: Record<string, Uint8Array>;
  selection: Selection;
  picture: Picture | null;
  weights: number;
  /** Steps done of the maximizing images that are being made, null when none are. */
  running: number | null = null;
  stopped = "";
  uploadError = "";
  /** Why a value that Python set was refused. */
  refused = "";

  /** The place that is looked at, as shares of the picture's height and width, and whether it stays. */
  private place: { y: number; x: number } | null = null;
  locked = false;
  /** What the colours of activation maps run to. */
  mapScale: Scale = { mode: "map", fixed: 1, contrast: 1 };

  /** Maps side by side, of which Shift and an arrow key pass a row. */
  across = 8;

  private fields = new Map<string, Field>();
  private stacks = new Map<string, Stack>();
  private pages = new Map<string, Page>();
  private scoresOf = new Map<string, Score[]>();
  private spectra = new Map<string, Spectrum>();
  private badgesOf = new Map<string, Badge[]>();
  private attributionsOf = new Map<string, Attribution[]>();
  private ablations = new Map<string, Ablation>();
  private feeding = new Map<string, Incoming>();
  private sums = new Map<string, Arithmetic>();
  private besides = new Map<string, Beside>();
  private embeddings = new Map<string, Embedding>();
  /** Kinds and keys whose questions have been answered to the end. */
  private complete = new Set<string>();
  /** The rank of the class that evidence is asked for, null for the selected unit. */
  private target: number | null = 0;
  /** What the selected unit's answers are multiplied with. */
  private factor = 0;
  /** The unit whose maximizing image is to be judged. */
  private judged = "";
  private open = new Map<What, Open>();
  private failures = new Map<string, string>();
  private listeners = new Set<() => void>();
  private frame = 0;
  private ids = 0;
  private uploads = 0;
  private movedAt = 0;
  private restTimer = 0;
  private telling = 0;
  private readonly offs: (() => void)[] = [];

  constructor(readonly model: AnyModel) {
    this.network = model.get("_network");
    this.layers = new Map(this.network.layers.map((layer) => [layer.name, layer]));
    this.views = model.get("_views");
    this.samples = model.get("_samples");
    const tables: Record<string, DataView> = model.get("_colours");
    this.colours = Object.fromEntries(Object.entries(tables).map(([k, v]) => [k, bytes(v)]));
    this.selection = model.get("_selection");
    this.picture = model.get("_picture");
    this.weights = model.get("_weights");
    this.follow();
    this.listen("change:_selection", () => {
      if (JSON.stringify(model.get("_selection")) === JSON.stringify(this.selection)) return;
      this.selection = model.get("_selection");
      this.follow();
      this.moved();
    });
    this.listen("change:_picture", () => {
      this.picture = model.get("_picture");
      this.uploadError = "";
      this.changed();
    });
    this.listen("change:selected", () => this.changed());
    this.listen("change:view", () => this.changed());
    this.listen("change:_weights", () => this.newWeights(model.get("_weights")));
    this.listen("msg:custom", (content: Message, buffers: DataView[]) => this.receive(content, buffers));
  }

  close(): void {
    for (const off of this.offs) off();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.restTimer);
    clearTimeout(this.telling);
    for (const page of this.pages.values()) page.sheet.close();
    for (const spectrum of this.spectra.values()) spectrum.sheet?.close();
    this.listeners.clear();
  }

  // ---- for views ----

  /** Has `draw` called once per frame in which something changed; gives back how to end that. */
  subscribe(draw: () => void): () => void {
    this.listeners.add(draw);
    this.changed();
    return () => this.listeners.delete(draw);
  }

  get layer(): Layer {
    return this.layers.get(this.selection.layer) as Layer;
  }

  /** Whether there may be a kernel behind it; an exported page has none. */
  get live(): boolean {
    return !this.model.get("_stored");
  }

  get view(): string {
    return this.model.get("view") || "all";
  }

  set view(name: string) {
    this.model.set("view", name);
    this.model.save_changes();
    this.changed();
  }

  shows(view: string): boolean {
    if (!this.views.includes(view) || this.views.length === 1) return this.views.includes(view);
    if (this.view === "evidence") return view === "picture" || view === "unit" || EVIDENCE.includes(view);
    return this.view === view || (this.view === "all" && ![...EVIDENCE, ...APART].includes(view));
  }

  /** The neuron of the present layer at the place that is looked at. */
  neuron(): { row: number; column: number } | null {
    if (!this.place) return null;
    const { layer, network } = this;
    const field = this.fields.get(layer.name);
    const [height, width] = layer.grid;
    const along = (share: number, axis: 0 | 1, count: number) => {
      const pixel = share * network.input[1 + axis];
      const index = field
        ? (pixel - field.offset[axis] - field.size[axis] / 2) / Math.max(1, field.stride[axis])
        : share * count - 0.5;
      return Math.max(0, Math.min(count - 1, Math.round(index)));
    };
    return { row: along(this.place.y, 0, height), column: along(this.place.x, 1, width) };
  }

  /** What that neuron sees, as shares of the picture: top, left, bottom, right. */
  box(): [number, number, number, number] | null {
    const neuron = this.neuron();
    const field = this.fields.get(this.layer.name);
    if (!neuron || !field) return null;
    const [, height, width] = this.network.input;
    const share = (index: number, axis: 0 | 1, size: number) => {
      const start = field.offset[axis] + field.stride[axis] * index;
      return [Math.max(0, start) / size, Math.min(size, start + field.size[axis]) / size];
    };
    const [[top, bottom], [left, right]] = [share(neuron.row, 0, height), share(neuron.column, 1, width)];
    return [top, left, bottom, right];
  }

  /** Looks at a place, (0, 0) to (1, 1), while none is locked; null at none. */
  look(place: { y: number; x: number } | null): void {
    if (this.locked) return;
    this.place = place;
    this.changed();
  }

  /** Looks at a neuron of the present layer. */
  lookAt(neuron: { row: number; column: number } | null): void {
    this.look(neuron && this.middle(neuron.row, neuron.column));
  }

  /** Stays at the place that is looked at: the selected unit becomes its neuron. */
  lock(): void {
    if (!this.place) return;
    this.locked = true;
    this.choose(this.selection.layer, this.selection.channel);
  }

  /** Stays at a neuron of the present layer. */
  lockAt(row: number, column: number): void {
    const [height, width] = this.layer.grid;
    const inside = (index: number, count: number) => Math.max(0, Math.min(count - 1, index));
    this.place = this.middle(inside(row, height), inside(column, width));
    this.lock();
  }

  unlock(): void {
    if (!this.locked) return;
    this.locked = false;
    this.place = null;
    this.choose(this.selection.layer, this.selection.channel);
  }

  /** The units of the present layer that answer most at the place, with their values; of a layer in parts, of its part. */
  ranked(): [channel: number, value: number][] {
    const stack = this.stack("maps");
    const neuron = this.neuron();
    if (!stack || !neuron) return [];
    const at = neuron.row * stack.width + neuron.column;
    const size = stack.planes * stack.height * stack.width;
    const values = Array.from({ length: stack.count }, (_, n): [number, number] => {
      const [low, high] = [stack.ranges[2 * n], stack.ranges[2 * n + 1]];
      return [stack.start + n, low + ((high - low) * stack.levels[n * size + at]) / 255];
    });
    return values.sort((a, b) => b[1] - a[1]).slice(0, RANKED);
  }

  setScale(change: Partial<Scale>): void {
    const stack = this.stack("maps");
    // A fixed scale is that of what is seen when it is chosen.
    if (change.mode === "fixed" && stack) this.mapScale.fixed = reach(stack);
    this.mapScale = { ...this.mapScale, ...change };
    this.changed();
  }

  /** Python that makes the present view again, for a network called `net`. */
  code(): string {
    const { layer, channel, row, column } = this.selection;
    const unit = `${layer}:${channel}${row === null ? "" : `@${row},${column}`}`;
    const known = this.samples.some(({ name }) => name === this.picture?.name);
    const picture = known ? `, picture=net.samples["${this.picture?.name}"]` : "";
    const view = this.model.get("view") && this.view !== "all" ? `, view="${this.view}"` : "";
    return `nl.${this.model.get("_kind")}(net, unit="${unit}"${picture}${view})`;
  }

  private middle(row: number, column: number): { y: number; x: number } {
    const field = this.fields.get(this.layer.name);
    const [height, width] = this.layer.grid;
    const share = (index: number, axis: 0 | 1, count: number) =>
      field
        ? (field.offset[axis] + field.stride[axis] * index + field.size[axis] / 2) / this.network.input[1 + axis]
        : (index + 0.5) / count;
    return { y: share(row, 0, height), x: share(column, 1, width) };
  }

  /** Looks where a selection that came from Python looks. */
  private follow(): void {
    const { row = null, column = null } = this.selection;
    this.locked = row !== null && column !== null;
    this.place = row !== null && column !== null ? this.middle(row, column) : null;
  }

  private choose(layer: string, channel: number): void {
    this.selection = { layer, channel, row: null, column: null };
    if (this.locked) this.selection = { ...this.selection, ...this.neuron() };
    // Python hears of it after the frame that draws it, once a frame.
    clearTimeout(this.telling);
    this.telling = window.setTimeout(() => {
      this.model.set("_selection", this.selection);
      this.model.save_changes();
    }, TELL);
    this.moved();
  }

  /** Selects a unit; a channel beyond the layer's last becomes the last. */
  select(layer: string, channel: number): void {
    const found = this.layers.get(layer);
    if (!found) return;
    const kept = Math.max(0, Math.min(channel, found.channels - 1));
    if (layer === this.selection.layer && kept === this.selection.channel) return;
    this.choose(layer, kept);
  }

  selectLayer(index: number): void {
    const list = this.network.layers;
    this.select(list[Math.max(0, Math.min(index, list.length - 1))].name, this.selection.channel);
  }

  /** The maps or filters that hold the selected unit, or undefined until they have come. */
  stack(what: "maps" | "filters"): Stack | undefined {
    return this.stacks.get(this.key(what));
  }

  page(): Page | undefined {
    return this.pages.get(this.key("page"));
  }

  scores(): Score[] | undefined {
    return this.scoresOf.get(this.key("scores"));
  }

  spectrum(): Spectrum | undefined {
    return this.spectra.get(this.key("examples"));
  }

  badges(): Badge[] | undefined {
    return this.badgesOf.get(this.key("trust"));
  }

  /** Whether the selected unit's maximizing image is being judged. */
  get judging(): boolean {
    return this.open.get("trust")?.key === this.key("trust");
  }

  attributions(): Attribution[] {
    return this.attributionsOf.get(this.key("attribution")) ?? [];
  }

  get attributionTarget(): number | null {
    return this.target;
  }

  set attributionTarget(rank: number | null) {
    this.target = rank;
    this.changed();
  }

  ablation(): Ablation | undefined {
    return this.ablations.get(this.key("ablation"));
  }

  incoming(): Incoming | undefined {
    return this.feeding.get(this.key("incoming"));
  }

  arithmetic(): Arithmetic | undefined {
    return this.sums.get(this.key("arithmetic"));
  }

  beside(): Beside | undefined {
    return this.besides.get(this.key("directions"));
  }

  embedding(): Embedding | undefined {
    return this.embeddings.get(this.key("embedding"));
  }

  /** Numbers, in the dataset, of the pictures that are brushed. */
  get selected(): number[] {
    return this.model.get("selected");
  }

  set selected(numbers: number[]) {
    this.model.set("selected", numbers);
    this.model.save_changes();
    this.changed();
  }

  /** Makes a picture of the dataset the one that is looked at. */
  chooseFromDataset(index: number): void {
    this.send({ type: "dataset", index });
  }

  get scale(): number {
    return this.factor;
  }

  set scale(factor: number) {
    this.factor = factor;
    this.changed();
  }

  judge(): void {
    this.judged = this.key("trust");
    this.changed();
  }

  /** What the selected unit answers to its own finished maximizing image, if that is there. */
  reached(): number | undefined {
    const page = this.page();
    return page?.finished ? page.activations[page.channels.indexOf(this.selection.channel)] : undefined;
  }

  /** The picture that the selected unit wants least, once it was made. */
  negative(): Page | undefined {
    return this.pages.get(this.key("negative"));
  }

  /** Draws the selected unit's maximizing image. */
  drawImage(canvas: HTMLCanvasElement): void {
    this.drawImageOf(canvas, this.selection.layer, this.selection.channel);
  }

  /** Draws a unit's maximizing image, if it is here; says whether it is. */
  drawImageOf(canvas: HTMLCanvasElement, layer: string, channel: number): boolean {
    for (const [key, page] of this.pages) {
      const index = page.layer === layer && !key.startsWith("negative") ? page.channels.indexOf(channel) : -1;
      if (index < 0) continue;
      drawFrom(canvas, page, index);
      return true;
    }
    return false;
  }

  /** Why `what` has nothing to show, "" if it has or may yet. */
  failure(what: What): string {
    return this.failures.get(`${what} ${this.key(what)}`) ?? "";
  }

  pageChannels(): number[] {
    const start = Math.floor(this.selection.channel / PAGE) * PAGE;
    const count = Math.min(PAGE, this.layer.channels - start);
    return Array.from({ length: count }, (_, i) => start + i);
  }

  stop(): void {
    this.stopped = this.key("page");
    this.send({ type: "stop", what: "page" });
    this.changed();
  }

  goOn(): void {
    this.stopped = "";
    this.changed();
  }

  chooseSample(name: string): void {
    this.send({ type: "sample", name });
  }

  /** Sends a picture file in pieces; its name is shown with it. */
  upload(name: string, data: Uint8Array): void {
    const upload = ++this.uploads;
    const count = Math.max(1, Math.ceil(data.length / CHUNK));
    this.uploadError = "";
    for (let index = 0; index < count; index++) {
      const piece = data.slice(index * CHUNK, (index + 1) * CHUNK);
      this.send({ type: "upload", upload, index, count, name }, [piece.buffer]);
    }
    this.changed();
  }

  failedUpload(text: string): void {
    this.uploadError = text;
    this.changed();
  }

  private send(content: object, buffers?: ArrayBuffer[]): void {
    try {
      this.model.send(content, undefined, buffers);
    } catch {
      this.refused = "The kernel does not know this panel any more. Run its cell again.";
      this.changed();
    }
  }

  changed(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  // ---- asking ----

  private draw(): void {
    this.frame = 0;
    for (const listener of this.listeners) listener();
    if (this.listeners.size) this.askForMissing();
  }

  private askForMissing(): void {
    const { layer, channel } = this.selection;
    if (this.picture && ["activations", "picture", "unit", "here"].some((v) => this.shows(v)) && !this.stack("maps")) {
      this.ask("maps", { layer, channel, picture: this.picture.key });
    }
    const filters = this.shows("filters") || ((this.shows("unit") || this.shows("kernel")) && this.layer.filter);
    if (filters && !this.stack("filters")) this.ask("filters", { layer, channel });
    if (this.picture && this.shows("picture") && !this.scores()) this.ask("scores", { picture: this.picture.key });
    if (this.place && !this.fields.has(layer)) this.ask("field", { layer });
    if (this.shows("arithmetic") && this.locked && this.picture && !this.arithmetic()) {
      const { row, column } = this.selection;
      this.ask("arithmetic", { layer, channel, row, column, picture: this.picture.key });
    }
    if (this.shows("here") && this.locked && this.unseen().length)
      this.ask("here", { layer, channels: this.ranked().map(([unit]) => unit) });
    if (this.shows("unit") && !this.negative()) this.askAtRest("negative", { layer, channel });
    if (this.shows("examples") && !this.spectrum()?.finished) this.askAtRest("examples", { layer, channel });
    if (this.shows("examples") && this.judged === this.key("trust") && !this.badges()) {
      this.ask("trust", { layer, channel });
    }
    if (this.shows("incoming") && !this.complete.has(`incoming ${this.key("incoming")}`))
      this.askAtRest("incoming", { layer, channel });
    if (this.shows("directions") && !this.complete.has(`directions ${this.key("directions")}`))
      this.askAtRest("directions", { layer, channel });
    if (this.shows("embedding") && !this.complete.has(`embedding ${this.key("embedding")}`))
      this.askAtRest("embedding", { layer });
    if (this.picture) {
      const of = { layer, channel, picture: this.picture.key };
      if (this.shows("attribution") && !this.complete.has(`attribution ${this.key("attribution")}`))
        this.ask("attribution", { ...of, target: this.target });
      if (this.shows("ablation") && !this.complete.has(`ablation ${this.key("ablation")}`))
        this.ask("ablation", { ...of, scale: this.factor });
    }
    const page = this.page();
    if (
      ["maximization", "examples", "unit"].some((view) => this.shows(view)) &&
      !page?.finished &&
      this.stopped !== this.key("page")
    ) {
      this.askAtRest("page", { layer, channels: this.pageChannels() });
    }
  }

  /** Ranked units whose maximizing image is not here. */
  private unseen(): number[] {
    const here = new Set(
      [...this.pages].flatMap(([key, page]) =>
        page.layer === this.selection.layer && page.finished && !key.startsWith("negative") ? page.channels : [],
      ),
    );
    return this.ranked()
      .map(([unit]) => unit)
      .filter((unit) => !here.has(unit));
  }

  /** Asks once the selection has stayed for a while. */
  private askAtRest(what: What, content: object): void {
    const wait = this.movedAt + REST - performance.now();
    clearTimeout(this.restTimer);
    if (wait > 0) this.restTimer = window.setTimeout(() => this.changed(), wait);
    else this.ask(what, content);
  }

  private ask(what: What, content: object): void {
    const key = this.key(what);
    if (this.open.get(what)?.key === key || this.failures.has(`${what} ${key}`)) return;
    const id = ++this.ids;
    this.open.set(what, { id, key });
    if (what === "attribution") this.attributionsOf.delete(key);
    if (what === "page") this.running = 0;
    this.send({ type: "want", id, what, ...content });
  }

  /** Names what the present selection needs of a kind. */
  private key(what: What): string {
    const { layer, channel } = this.selection;
    if (what === "scores") return this.picture?.key ?? "";
    if (what === "attribution") return `${this.picture?.key} ${this.target ?? `${layer}:${channel}`}`;
    if (what === "ablation") return `${this.picture?.key} ${layer}:${channel} ${this.factor}`;
    if (what === "examples" || what === "trust" || what === "incoming" || what === "directions")
      return `${layer}:${channel}`;
    if (what === "embedding" || what === "field") return layer;
    if (what === "arithmetic") {
      const { row, column } = this.selection;
      return `${this.picture?.key} ${layer}:${channel}@${row},${column}`;
    }
    if (what === "negative") return `negative ${layer}:${channel}`;
    if (what === "here") return `here ${layer} ${this.ranked().map(([unit]) => unit)}`;
    if (what === "page") return `${layer} ${Math.floor(channel / PAGE)}`;
    const { planes, height, width } = this.tileShape(what);
    const most = Math.max(1, Math.floor((4 << 20) / Math.max(1, planes * height * width)));
    const part = `${layer} ${Math.floor(channel / most)}`;
    return what === "maps" ? `maps ${this.picture?.key} ${part}` : `filters ${part}`;
  }

  private tileShape(what: "maps" | "filters"): { planes: number; height: number; width: number } {
    if (what === "maps") return { planes: 1, height: this.layer.grid[0], width: this.layer.grid[1] };
    const [planes, height, width] = this.layer.filter ?? [1, 1, 1];
    return { planes, height, width };
  }

  private moved(): void {
    this.refused = "";
    // What failed is tried again by coming back to it.
    for (const failure of this.failures.keys()) {
      const what = failure.split(" ", 1)[0] as What;
      if (failure !== `${what} ${this.key(what)}`) this.failures.delete(failure);
    }
    const page = this.key("page");
    if (this.open.get("page") && this.open.get("page")?.key !== page) {
      // The slider has left the page whose images are being made.
      this.send({ type: "stop", what: "page" });
      this.open.delete("page");
      this.running = null;
    }
    if (
      !this.pages.has(page) ||
      (this.shows("examples") && !this.spectrum()) ||
      (this.shows("unit") && !this.negative())
    )
      this.movedAt = performance.now();
    if (this.stopped && this.stopped !== page) this.stopped = "";
    this.changed();
  }

  // ---- answers ----

  private receive(content: Message, buffers: DataView[]): void {
    const what = [...this.open].find(([, open]) => open.id === content.id)?.[0];
    const key = what && this.open.get(what)?.key;
    if (content.type === "error") this.fail(content, what);
    else if (what && key) this.answer(what, key, content, buffers);
    if (content.type === "page" && !content.finished) {
      requestAnimationFrame(() => this.send({ type: "ack" }));
    }
    this.changed();
  }

  private answer(what: What, key: string, content: Message, buffers: DataView[]): void {
    if (content.weights !== undefined && content.weights !== this.weights) this.newWeights(content.weights);
    if (content.type === "stack") {
      const [ranges, largest, mean, active, where] = buffers.slice(1).map(floats);
      const stack = { levels: bytes(buffers[0]), ranges, largest, mean, active, where };
      this.keep(key, { ...(content as unknown as Stack), ...stack });
    } else if (content.type === "field") {
      this.fields.set(key, content as unknown as Field);
      if (this.locked) this.follow();
    } else if (content.type === "scores") {
      this.scoresOf.set(key, content.scores as Score[]);
    } else if (content.type === "trust") {
      this.badgesOf.set(key, content.badges as Badge[]);
    } else if (content.type === "attribution") {
      void this.keepAttribution(key, content as unknown as Attribution, buffers[0]);
    } else if (content.type === "incoming") {
      void this.keepFeeding(key, content as unknown as Incoming, buffers[0]);
    } else if (content.type === "arithmetic") {
      this.sums.set(key, { ...(content as unknown as Arithmetic), values: floats(buffers[0]) });
    } else if (content.type === "directions") {
      void this.keepBeside(key, content as unknown as Beside, buffers[0]);
    } else if (content.type === "embedding") {
      void this.keepEmbedding(key, content as unknown as Embedding, buffers);
    } else if (content.type === "ablation") {
      this.ablations.set(key, content as unknown as Ablation);
    } else if (content.type === "examples") {
      void this.keepSpectrum(key, content as unknown as Spectrum, buffers);
    } else if (content.type === "page") {
      if (what === "page") this.running = content.step as number;
      // Ranked units may come on several pages.
      const of = what === "here" ? `${key} ${content.channels}` : key;
      void this.keepPage(of, content as unknown as Page, buffers[0]);
    } else {
      this.open.delete(what);
      if (content.type === "done") this.complete.add(`${what} ${key}`);
      if (what === "page") this.running = null;
    }
  }

  private async keepFeeding(key: string, found: Incoming, data?: DataView): Promise<void> {
    const sheet = data ? await createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
    this.feeding.get(key)?.sheet?.close();
    this.feeding.set(key, { ...found, sheet });
    this.changed();
  }

  private async keepBeside(key: string, found: Beside, data?: DataView): Promise<void> {
    const sheet = data ? await createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
    const old = this.besides.get(key);
    if (old && old.count > found.count) return sheet?.close();
    old?.sheet?.close();
    this.besides.set(key, { ...found, sheet });
    this.changed();
  }

  private async keepEmbedding(key: string, head: Embedding, buffers: DataView[]): Promise<void> {
    const [points, indices, data] = buffers;
    const sheet = head.columns ? await createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
    const old = this.embeddings.get(key);
    if (old?.finished && !head.finished) return sheet?.close();
    old?.sheet?.close();
    const numbers = { points: floats(points), indices: new Int32Array(floats(indices).buffer) };
    this.embeddings.set(key, { ...head, ...numbers, sheet });
    this.changed();
  }

  private async keepAttribution(key: string, found: Attribution, data?: DataView): Promise<void> {
    const list = this.attributionsOf.get(key) ?? [];
    this.attributionsOf.set(key, list);
    const entry = { ...found, sheet: null as ImageBitmap | null };
    list.push(entry);
    if (data) entry.sheet = await createImageBitmap(new Blob([bytes(data) as BlobPart]));
    this.changed();
  }

  private async keepPage(key: string, page: Page, data: DataView): Promise<void> {
    const sheet = await createImageBitmap(new Blob([bytes(data) as BlobPart]));
    const old = this.pages.get(key);
    // Bitmaps are decoded in no certain order.
    if (old && old.weights === page.weights && (old.finished || old.step > page.step)) return sheet.close();
    old?.sheet.close();
    this.pages.set(key, { ...page, sheet });
    this.changed();
  }

  private async keepSpectrum(key: string, head: Spectrum, buffers: DataView[]): Promise<void> {
    const [data, quantiles, counts, edges] = buffers;
    const sheet = head.tiles ? await createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
    const old = this.spectra.get(key);
    if (old && old.weights === head.weights && old.count > head.count) return sheet?.close();
    old?.sheet?.close();
    const numbers = { quantiles: floats(quantiles), counts: floats(counts), edges: floats(edges) };
    this.spectra.set(key, { ...head, sheet, ...numbers });
    this.changed();
  }

  private keep(key: string, stack: Stack): void {
    this.stacks.delete(key);
    this.stacks.set(key, stack);
    let used = 0;
    for (const kept of this.stacks.values()) used += kept.levels.length;
    for (const [oldest, kept] of this.stacks) {
      if (used <= KEPT_BYTES || oldest === key) break;
      this.stacks.delete(oldest);
      used -= kept.levels.length;
    }
  }

  private fail(content: Message, what: What | undefined): void {
    const text = String(content.text);
    if (what) {
      this.failures.set(`${what} ${this.open.get(what)?.key}`, text);
      this.open.delete(what);
      if (what === "page") this.running = null;
    } else if (["upload", "sample", "dataset"].includes(content.what ?? "")) {
      this.uploadError = text;
    } else {
      this.refused = text;
    }
  }

  /** The model has changed: all that was sent is out of date. */
  private newWeights(version: number): void {
    this.weights = version;
    this.stacks.clear();
    this.scoresOf.clear();
    this.failures.clear();
    this.open.clear();
    for (const page of this.pages.values()) page.sheet.close();
    this.pages.clear();
    for (const spectrum of this.spectra.values()) spectrum.sheet?.close();
    this.spectra.clear();
    this.badgesOf.clear();
    this.attributionsOf.clear();
    this.ablations.clear();
    this.feeding.clear();
    this.sums.clear();
    for (const beside of this.besides.values()) beside.sheet?.close();
    this.besides.clear();
    for (const embedding of this.embeddings.values()) embedding.sheet?.close();
    this.embeddings.clear();
    this.complete.clear();
    this.changed();
  }

  private listen(event: string, call: (...args: never[]) => void): void {
    const on = call as any;
    this.model.on(event, on);
    this.offs.push(() => this.model.off(event, on));
  }
}

/** Draws one picture of a page. */
export function drawFrom(canvas: HTMLCanvasElement, page: Page, index: number): void {
  const { sheet, width, height } = page;
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d")?.drawImage(sheet, index * width, 0, width, height, 0, 0, width, height);
}

interface Message {
  type: string;
  id?: number;
  what?: string;
  weights?: number;
  [name: string]: unknown;
}
