/**
 * What one widget knows: the selection, and everything the kernel has sent. Views read it and draw themselves
 * once per animation frame after a change; what they miss is asked for in that frame, so that a storm of
 * slider events becomes one question.
 */
import type { AnyModel } from "@anywidget/types";
import { Answers } from "./answers";
import {
  type Ablation,
  type Arithmetic,
  type Attribution,
  type Badge,
  type Beside,
  type Blocks,
  bytes,
  type Embedding,
  type Field,
  type Incoming,
  type Layer,
  type Message,
  type Network,
  type Page,
  type Picture,
  type Sample,
  type Score,
  type Selection,
  type Spectrum,
  type Stack,
  type Step,
  type What,
} from "./protocol";
import { reach, type Scale, top } from "./tiles";

/** Units on a page of maximizing images. */
export const PAGE = 12;
/** How long a selection has to stay before its maximizing images are asked for, in milliseconds. */
const REST = 60;
/** Bytes of tiles and pictures kept in the browser; the longest unused go first. */
const KEPT_BYTES = 192 << 20;
const CHUNK = 512 << 10;
/** Views that the "evidence" view shows together, beside the picture. */
export const EVIDENCE = ["examples", "attribution", "ablation", "incoming", "directions", "embedding"];

/** Views that have a tab of their own, and are not among "all". */
export const APART = ["blocks", "kernel"];
const OWN: Scale = { mode: "map", fixed: 1, contrast: 1 };
/** Milliseconds until Python is told of a selection. */
const TELL = 50;
/** How many units are ranked at a place. */
export const RANKED = 8;

/** Quick questions: the next is asked when the last has ended, so that a storm of events does not become one of messages. */
const QUICK: What[] = ["maps", "filters", "scores", "field"];
/** Milliseconds after which a question counts as lost, and until one is asked again whose answer was of no use. */
const [LOST, AGAIN] = [2000, 500];

/** A question without an end yet: what it is about, the weights that it was asked for, and when. */
interface Open {
  id: number;
  key: string;
  weights: number;
  at: number;
}

/** Shares of the picture's height and width. */
export type Place = { y: number; x: number };

export interface Looks {
  place: Place | null;
  /** Whether the place stays. */
  locked: boolean;
  /** What the colours of activation maps run to. */
  scale: Scale;
  /** The rank of the class that evidence is asked for, null for the selected unit. */
  target: number | null;
  /** What the selected unit's answers are multiplied with. */
  factor: number;
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
  /** Whether the kernel has ever answered. */
  answered = false;
  uploadError = "";
  /** Why a value that Python set was refused. */
  refused = "";

  /** The store of the network that is drawn beside this one, with the same colours. */
  peer: Store | null = null;

  /** How things are looked at; replaced as a whole when it changes. */
  looks: Looks = { place: null, locked: false, scale: OWN, target: 0, factor: 0 };

  /** Maps side by side, of which Shift and an arrow key pass a row. */
  across = 8;

  private fields = new Map<string, Field>();
  /** By version of the weights; those that were used last stand last. */
  private readonly kept = new Map<number, Answers>();
  private answers: Answers;
  /** The version of the model as it is, while a recorded step is shown. */
  private now: number;
  /** The unit whose maximizing image is to be judged. */
  private judged = "";
  private open = new Map<What, Open>();
  private failures = new Map<string, string>();
  /** When a kind was last answered for weights that are not shown. */
  private useless = new Map<What, number>();
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
    this.weights = this.now = model.get("_weights");
    this.answers = this.answersOf(this.weights);
    this.follow();
    this.listen("change:_selection", () => this.chosenInPython(model.get("_selection")));
    this.listen("change:_picture", () => {
      this.picture = model.get("_picture");
      this.uploadError = "";
      this.changed();
    });
    this.listen("change:selected", () => this.changed());
    this.listen("change:view", () => this.changed());
    for (const trait of ["step", "_steps"]) this.listen(`change:${trait}`, () => this.toMoment());
    this.listen("change:_weights", () => {
      if (this.step === null) this.now = model.get("_weights");
      this.toMoment();
    });
    this.listen("msg:custom", (content: Message, buffers: DataView[]) => this.receive(content, buffers));
  }

  close(): void {
    for (const off of this.offs) off();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.restTimer);
    clearTimeout(this.telling);
    for (const answers of this.kept.values()) answers.close();
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

  /** Whether something that was asked for is on its way. */
  get busy(): boolean {
    return this.open.size > 0;
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
    if (this.view === "blocks" && view === "picture") return true;
    return this.view === view || (this.view === "all" && ![...EVIDENCE, ...APART].includes(view));
  }

  /** The neuron of the present layer at the place that is looked at. */
  neuron(): { row: number; column: number } | null {
    const { place } = this.looks;
    if (!place) return null;
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
    return { row: along(place.y, 0, height), column: along(place.x, 1, width) };
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

  get locked(): boolean {
    return this.looks.locked;
  }

  get mapScale(): Scale {
    return this.looks.scale;
  }

  /** Looks at a place, (0, 0) to (1, 1), while none is locked; null at none. */
  look(place: Place | null): void {
    if (!this.locked) this.see({ place });
  }

  /** Looks at a neuron of the present layer. */
  lookAt(neuron: { row: number; column: number } | null): void {
    this.look(neuron && this.middle(neuron.row, neuron.column));
  }

  /** Stays at the place that is looked at: the selected unit becomes its neuron. */
  lock(): void {
    if (this.looks.place) this.stay(this.looks.place);
  }

  /** Stays at a neuron of the present layer. */
  lockAt(row: number, column: number): void {
    const [height, width] = this.layer.grid;
    const inside = (index: number, count: number) => Math.max(0, Math.min(count - 1, index));
    this.stay(this.middle(inside(row, height), inside(column, width)));
  }

  unlock(): void {
    if (this.locked) this.stay(null);
  }

  /** Stays at a place, or at none. */
  stay(place: Place | null): void {
    this.see({ place, locked: place !== null });
    this.choose(this.selection.layer, this.selection.channel);
  }

  see(change: Partial<Looks>): void {
    this.looks = { ...this.looks, ...change };
    this.changed();
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
    const both = [stack, this.peer?.stack("maps")].filter((s) => s !== undefined);
    const fixed = change.mode === "fixed" && stack ? Math.max(...both.map(reach)) : this.mapScale.fixed;
    this.see({ scale: { ...this.mapScale, fixed, ...change } });
  }

  /** The value that has the last colour in a unit's tiles: the same as beside it. Undefined: the unit's own. */
  top(what: "maps" | "filters", unit: number): number | undefined {
    const [stack, other] = [this.stack(what), this.peer?.stack(what)];
    if (!stack || (what === "filters" && !other)) return undefined;
    return top(stack, unit, what === "maps" ? this.mapScale : OWN, other);
  }

  /** Changes when `top` may. */
  topKey(what: "maps" | "filters"): string {
    const other = this.peer?.stack(what);
    const beside = other ? `${other.layer} ${other.start} ${other.weights} ${this.peer?.picture?.key}` : "";
    return `${what === "maps" ? JSON.stringify(this.mapScale) : ""} ${beside}`;
  }

  /** What was recorded in a training, from first to last. */
  get steps(): Step[] {
    return this.model.get("_steps");
  }

  /** The step that is shown, null for the model as it is. */
  get step(): number | null {
    return this.model.get("step");
  }

  set step(step: number | null) {
    this.model.set("step", step);
    this.model.save_changes();
    this.toMoment();
  }

  /** Python that makes the present view again, for a network called `net`, beside one called `other`. */
  code(): string {
    const { layer, channel, row, column } = this.selection;
    const unit = `${layer}:${channel}${row === null ? "" : `@${row},${column}`}`;
    const known = this.samples.some(({ name }) => name === this.picture?.name);
    const picture = known ? `, picture=net.samples["${this.picture?.name}"]` : "";
    const view = this.model.get("view") && this.view !== "all" ? `, view="${this.view}"` : "";
    const beside = this.model.get("_beside") ? ", compare=other" : "";
    return `nl.${this.model.get("_kind")}(net, unit="${unit}"${picture}${view}${beside})`;
  }

  protected middle(row: number, column: number): { y: number; x: number } {
    const field = this.fields.get(this.layer.name);
    const [height, width] = this.layer.grid;
    const share = (index: number, axis: 0 | 1, count: number) =>
      field
        ? (field.offset[axis] + field.stride[axis] * index + field.size[axis] / 2) / this.network.input[1 + axis]
        : (index + 0.5) / count;
    return { y: share(row, 0, height), x: share(column, 1, width) };
  }

  protected chosenInPython(selection: Selection): void {
    if (JSON.stringify(selection) === JSON.stringify(this.selection)) return;
    this.selection = selection;
    this.follow();
    this.moved();
  }

  /** Looks where a selection that came from Python looks. */
  protected follow(): void {
    const { row = null, column = null } = this.selection;
    const place = row !== null && column !== null ? this.middle(row, column) : null;
    this.looks = { ...this.looks, place, locked: place !== null };
  }

  private choose(layer: string, channel: number): void {
    this.selection = { layer, channel, row: null, column: null };
    if (this.locked) this.selection = { ...this.selection, ...this.neuron() };
    // Python hears of it after the frame that draws it: each message costs JupyterLab, which shows that the kernel is busy.
    if (!this.telling) this.telling = window.setTimeout(() => this.tell(), TELL);
    this.moved();
  }

  /** Tells Python of the selection, if it has not heard of it. */
  private tell(): void {
    clearTimeout(this.telling);
    this.telling = 0;
    this.model.set("_selection", this.selection);
    this.model.save_changes();
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
    return this.answers.stacks.get(this.key(what));
  }

  page(): Page | undefined {
    return this.answers.pages.get(this.key("page"));
  }

  scores(): Score[] | undefined {
    return this.answers.scores.get(this.key("scores"));
  }

  spectrum(): Spectrum | undefined {
    return this.answers.spectra.get(this.key("examples"));
  }

  badges(): Badge[] | undefined {
    return this.answers.badges.get(this.key("trust"));
  }

  /** Whether the selected unit's maximizing image is being judged. */
  get judging(): boolean {
    return this.asked("trust");
  }

  attributions(): Attribution[] {
    return this.answers.attributions.get(this.key("attribution")) ?? [];
  }

  get attributionTarget(): number | null {
    return this.looks.target;
  }

  set attributionTarget(rank: number | null) {
    this.see({ target: rank });
  }

  ablation(): Ablation | undefined {
    return this.answers.ablations.get(this.key("ablation"));
  }

  incoming(): Incoming | undefined {
    return this.answers.incoming.get(this.key("incoming"));
  }

  arithmetic(): Arithmetic | undefined {
    return this.answers.sums.get(this.key("arithmetic"));
  }

  blocks(): Blocks | undefined {
    return this.answers.blocks.get(this.key("blocks"));
  }

  beside(): Beside | undefined {
    return this.answers.besides.get(this.key("directions"));
  }

  embedding(): Embedding | undefined {
    return this.answers.embeddings.get(this.key("embedding"));
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
    return this.looks.factor;
  }

  set scale(factor: number) {
    this.see({ factor });
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
    return this.answers.pages.get(this.key("negative"));
  }

  /** Draws the selected unit's maximizing image. */
  drawImage(canvas: HTMLCanvasElement): void {
    this.drawImageOf(canvas, this.selection.layer, this.selection.channel);
  }

  /** Draws a unit's maximizing image, if it is here; says whether it is. */
  drawImageOf(canvas: HTMLCanvasElement, layer: string, channel: number): boolean {
    const found = this.imageOf(layer, channel);
    if (found) drawFrom(canvas, found.page, found.index);
    return found !== null;
  }

  /** Where a unit's maximizing image is, if it is here. */
  imageOf(layer: string, channel: number): { page: Page; index: number } | null {
    for (const [key, page] of this.answers.pages) {
      const index = page.layer === layer && !key.startsWith("negative") ? page.channels.indexOf(channel) : -1;
      if (index >= 0) return { page, index };
    }
    return null;
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
    this.tell(); // whose layer's maps come with the picture
    this.send({ type: "sample", name });
  }

  /** Sends a picture file in pieces; its name is shown with it. */
  upload(name: string, data: Uint8Array): void {
    const upload = ++this.uploads;
    const count = Math.max(1, Math.ceil(data.length / CHUNK));
    this.uploadError = "";
    this.tell();
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
    if (this.looks.place && !this.fields.has(layer)) this.ask("field", { layer });
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
    if (this.shows("incoming") && !this.answers.complete.has(`incoming ${this.key("incoming")}`))
      this.askAtRest("incoming", { layer, channel });
    if (this.shows("directions") && !this.answers.complete.has(`directions ${this.key("directions")}`))
      this.askAtRest("directions", { layer, channel });
    if (this.shows("embedding") && !this.answers.complete.has(`embedding ${this.key("embedding")}`))
      this.askAtRest("embedding", { layer });
    if (this.picture) {
      const of = { layer, channel, picture: this.picture.key };
      if (this.shows("attribution") && !this.answers.complete.has(`attribution ${this.key("attribution")}`))
        this.ask("attribution", { ...of, target: this.looks.target });
      if (this.shows("blocks") && !this.answers.complete.has(`blocks ${this.key("blocks")}`))
        this.askAtRest("blocks", { layer, picture: this.picture.key });
      if (this.shows("ablation") && !this.answers.complete.has(`ablation ${this.key("ablation")}`))
        this.ask("ablation", { ...of, scale: this.looks.factor });
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
      [...this.answers.pages].flatMap(([key, page]) =>
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
    if (this.asked(what) || this.failures.has(`${what} ${key}`)) return;
    const at = performance.now();
    if (at - (this.useless.get(what) ?? Number.NEGATIVE_INFINITY) < AGAIN) return;
    const last = this.open.get(what);
    if (QUICK.includes(what) && last && at - last.at < LOST) return;
    const id = ++this.ids;
    this.open.set(what, { id, key, weights: this.weights, at });
    if (what === "attribution") this.answers.attributions.delete(key);
    if (what === "page") this.running = 0;
    this.send({ type: "want", id, what, ...content });
  }

  /** Whether what the present selection needs of a kind is asked for. */
  private asked(what: What): boolean {
    const open = this.open.get(what);
    return open?.key === this.key(what) && open.weights === this.weights;
  }

  /** Names what the present selection needs of a kind. */
  private key(what: What, selection = this.selection, picture = this.picture?.key): string {
    const { layer, channel } = selection;
    if (what === "scores") return picture ?? "";
    if (what === "attribution") return `${picture} ${this.looks.target ?? `${layer}:${channel}`}`;
    if (what === "blocks") return `${picture} ${layer}`;
    if (what === "ablation") return `${picture} ${layer}:${channel} ${this.looks.factor}`;
    if (what === "examples" || what === "trust" || what === "incoming" || what === "directions")
      return `${layer}:${channel}`;
    if (what === "embedding" || what === "field") return layer;
    if (what === "arithmetic") {
      const { row, column } = selection;
      return `${picture} ${layer}:${channel}@${row},${column}`;
    }
    if (what === "negative") return `negative ${layer}:${channel}`;
    if (what === "here") return `here ${layer} ${this.ranked().map(([unit]) => unit)}`;
    if (what === "page") return `${layer} ${Math.floor(channel / PAGE)}`;
    const { planes, height, width } = this.tileShape(what);
    const most = Math.max(1, Math.floor((4 << 20) / Math.max(1, planes * height * width)));
    const part = `${layer} ${Math.floor(channel / most)}`;
    return what === "maps" ? `maps ${picture} ${part}` : `filters ${part}`;
  }

  private tileShape(what: "maps" | "filters"): { planes: number; height: number; width: number } {
    if (what === "maps") return { planes: 1, height: this.layer.grid[0], width: this.layer.grid[1] };
    const [planes, height, width] = this.layer.filter ?? [1, 1, 1];
    return { planes, height, width };
  }

  protected moved(): void {
    this.refused = "";
    // What failed is tried again by coming back to it.
    for (const failure of this.failures.keys()) {
      const what = failure.split(" ", 1)[0] as What;
      if (failure !== `${what} ${this.key(what)}`) this.failures.delete(failure);
    }
    const page = this.key("page");
    if (this.open.has("page") && !this.asked("page")) {
      // The slider has left the page whose images are being made.
      this.send({ type: "stop", what: "page" });
      this.open.delete("page");
      this.running = null;
    }
    if (
      !this.answers.pages.has(page) ||
      (this.shows("examples") && !this.spectrum()) ||
      (this.shows("blocks") && !this.blocks()) ||
      (this.shows("unit") && !this.negative())
    )
      this.movedAt = performance.now();
    if (this.stopped && this.stopped !== page) this.stopped = "";
    this.changed();
  }

  // ---- answers ----

  private receive(content: Message, buffers: DataView[]): void {
    this.answered = true;
    const what = [...this.open].find(([, open]) => open.id === content.id)?.[0];
    const open = what && this.open.get(what);
    if (content.type === "expect") this.expect(content);
    else if (content.type === "error") this.fail(content, what);
    else if (what && open) this.answer(what, open, content, buffers);
    if (content.type === "page" && !content.finished) {
      requestAnimationFrame(() => this.send({ type: "ack" }));
    }
    this.changed();
  }

  /** The kernel answers what was not asked yet. */
  private expect(content: Message): void {
    const what = content.what as What;
    const picture = content.picture as string | null;
    if (content.layer !== this.selection.layer) return;
    const channel = content.channel as number;
    const key = this.key(what, { ...this.selection, channel }, picture ?? undefined);
    this.open.set(what, { id: content.id as number, key, weights: content.weights as number, at: performance.now() });
  }

  private answer(what: What, open: Open, content: Message, buffers: DataView[]): void {
    const { key } = open;
    // A cell has changed the model since the question was asked.
    if (content.weights !== undefined && content.weights > this.weights && this.step === null)
      this.toWeights(content.weights);
    const answers = this.kept.get(content.weights ?? open.weights);
    if (!answers && open.weights === this.weights) {
      this.useless.set(what, performance.now());
      window.setTimeout(() => this.changed(), AGAIN);
    }
    if (content.type === "done" || content.type === "cancelled") {
      this.open.delete(what);
      if (content.type === "done") answers?.complete.add(`${what} ${key}`);
      if (what === "page") this.running = null;
      return;
    }
    if (content.type === "field") {
      this.fields.set(key, content as unknown as Field);
      if (this.locked) this.follow();
    }
    if (what === "page") this.running = content.step as number;
    // Units of a picture's places may come on several pages.
    const several = content.type === "page" && (what === "here" || what === "blocks");
    answers?.keep(several ? `${key} ${content.channels}` : key, content, buffers);
    if (content.type === "stack") answers?.shrink(KEPT_BYTES, key);
  }

  private fail(content: Message, what: What | undefined): void {
    const text = String(content.text);
    const open = what && this.open.get(what);
    if (open) {
      if (open.weights === this.weights) this.failures.set(`${what} ${open.key}`, text);
      this.open.delete(what);
      if (what === "page") this.running = null;
    } else if (["upload", "sample", "dataset"].includes(content.what ?? "")) {
      this.uploadError = text;
    } else {
      this.refused = text;
    }
  }

  /** Shows the weights of the chosen step, or the model as it is. */
  private toMoment(): void {
    const { step } = this;
    const version = step === null ? this.now : this.steps.find((each) => each.step === step)?.weights;
    if (version !== undefined && version !== this.weights) this.toWeights(version);
    this.changed();
  }

  /** Other weights are shown: of what was answered, only what was answered for them is true. */
  private toWeights(version: number): void {
    this.weights = version;
    if (this.step === null) this.now = version;
    this.answers = this.answersOf(version);
    this.failures.clear();
    this.running = null;
    const recorded = new Set([version, this.now, ...this.steps.map(({ weights }) => weights)]);
    let size = 0;
    for (const answers of this.kept.values()) size += answers.size();
    for (const [old, answers] of this.kept) {
      if (recorded.has(old) && (size <= KEPT_BYTES || old === version)) continue;
      size -= answers.size();
      answers.close();
      this.kept.delete(old);
    }
    this.moved();
  }

  private answersOf(version: number): Answers {
    const answers = this.kept.get(version) ?? new Answers(() => this.changed());
    this.kept.delete(version);
    this.kept.set(version, answers);
    return answers;
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
