/**
 * What a panel knows of one network. It joins the rooms of this folder: what is looked at (look, sight), what is asked and
 * answered (asking, conversation, moments), which picture. Views read it and draw themselves once per animation frame
 * after a change; what they miss is asked for in that frame, so that a storm of slider events becomes one question.
 */
import type { AnyModel } from "@anywidget/types";
import { rankedAt, reach, type Scale, type Stack, top } from "../drawing/tiles";
import type { Decoded } from "../views";
import type { Page } from "../views/maximization";
import type { Decode } from "./answers";
import { Asking } from "./asking";
import { Conversation, type Open } from "./conversation";
import { type Field, middleOf } from "./geometry";
import { Look } from "./look";
import { KEPT_BYTES, Moments } from "./moments";
import { UnitOrder } from "./order";
import { Pictures } from "./pictures";
import { bytes, type Layer, type Message, type Network, type Picture, type Sample, type Selection } from "./protocol";
import { fieldsOf, homeOf, isKind, KINDS, keyOf, type Subject, shownAt, type ViewName, type What } from "./questions";
import { Sight } from "./sight";
import { phrase, unitName } from "./words";

/** How many units are ranked at a place. */
export const RANKED = 8;

export class Store {
  readonly network: Network;
  readonly views: ViewName[];
  readonly samples: Sample[];
  readonly colours: Record<string, Uint8Array>;
  readonly look: Look;
  readonly sight: Sight;
  readonly pictures: Pictures;
  readonly moments: Moments;
  readonly conversation: Conversation;
  readonly asking: Asking;
  readonly order = new UnitOrder(this);
  /** The store of the network that is drawn beside this one. */
  peer: Store | null = null;
  picture: Picture | null;
  private why = "";
  private readonly listeners = new Set<() => void>();
  private readonly offs: (() => void)[] = [];
  private frame = 0;
  private selected: string;

  /** `leader`: the store of the network that this one is compared with, whose look it shares. */
  constructor(
    readonly model: AnyModel,
    private readonly decoders: Record<What, Decode>,
    leader?: Store,
  ) {
    this.network = model.get("_network");
    this.views = model.get("_views");
    this.samples = model.get("_samples");
    const tables: Record<string, DataView> = model.get("_colours");
    this.colours = Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, bytes(table)]));
    this.picture = model.get("_picture");
    const changed = () => this.changed();
    this.moments = new Moments(model, changed, () => this.moved(), changed);
    this.look = leader?.look ?? new Look(model, (layer, neuron) => middleOf(neuron, this.sight.frameOf(layer)));
    const field = (layer: string) =>
      this.moments.of("field").get("field", keyOf("field", { layer })) as Field | undefined;
    this.sight = new Sight(this.network, this.look, leader ? model.get("_counterparts") : null, field);
    this.look.begin();
    if (!leader && this.network.answer === null) this.look.target = null; // there are no classes to ask for
    this.conversation = new Conversation(model, {
      answered: (...answer) => this.answered(...answer),
      ended: (open, message) => this.ended(open, message),
      told: (message) => this.told(message),
    });
    this.pictures =
      leader?.pictures ?? new Pictures(this.network.kind, (...message) => this.sendPicture(...message), changed);
    this.asking = new Asking(this);
    this.selected = JSON.stringify(this.selection);
    if (leader) this.joinTo(leader);
    this.offs.push(this.look.subscribe(() => this.looked()));
    const listen = (event: string, call: () => void) => {
      model.on(event, call);
      this.offs.push(() => model.off(event, call));
    };
    listen("change:_picture", () => this.pictured());
    listen("comm_live_update", () => this.probe());
  }

  close(): void {
    if (this.peer) this.peer.peer = null;
    if (this.sight.leads) this.look.close();
    for (const off of this.offs) off();
    cancelAnimationFrame(this.frame);
    this.asking.close();
    this.conversation.close();
    this.moments.close();
    this.listeners.clear();
  }

  /** Has `draw` called once per frame in which something changed; gives back how to end that. */
  subscribe(draw: () => void): () => void {
    this.listeners.add(draw);
    this.changed();
    return () => this.listeners.delete(draw);
  }

  changed(): void {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  /** Whether there may be a kernel behind it; an exported page has none. */
  get live(): boolean {
    return !this.model.get("_stored");
  }

  /** Why a value that Python set was refused, or that the kernel is gone. */
  get refused(): string {
    return this.conversation.lost ? phrase("lost") : this.why;
  }

  get layer(): Layer {
    return this.sight.layer;
  }

  get selection(): Selection {
    return this.sight.selection;
  }

  shows(view: ViewName): boolean {
    return shownAt(this.look.view, this.views).includes(view);
  }

  /** What a unit is called: "12", of a class "3 · golden retriever". */
  nameOf(layer: string, channel: number): string {
    return unitName(this.network, layer, channel);
  }

  // ---- what is known ----

  /** The answer to what the present look asks of a kind, or undefined until it has come. */
  answer<W extends What>(what: W): Decoded[W] | undefined {
    const key = this.asking.key(what);
    return key === null ? undefined : (this.moments.of(what).get(what, key) as Decoded[W] | undefined);
  }

  /** Why a kind has nothing to show, "" if it has or may yet. */
  failure(what: What): string {
    return this.conversation.failure(what, this.asking.key(what) ?? "", this.moments.weights);
  }

  /** Whether what the present look asks of a kind is on its way. */
  isAsked(what: What): boolean {
    return this.conversation.asked(what, this.asking.key(what) ?? "", this.moments.weights);
  }

  /** What questions are about at present. */
  subject(): Subject {
    return { ...this.about(), order: this.order.ranked };
  }

  /** The maps' question, and its answer if it has come. */
  maps(): { key: string; stack: Stack | undefined } {
    const fields = fieldsOf("maps", this.about());
    const key = fields ? keyOf("maps", fields) : "";
    return {
      key: `${this.moments.weights} ${key}`,
      stack: this.moments.of("maps").get("maps", key) as Stack | undefined,
    };
  }

  private about(): Subject {
    const { look } = this;
    const { layer, channel, row, column } = this.selection;
    return {
      picture: this.picture?.key ?? null,
      layer: this.sight.layers.get(layer) as Layer,
      channel,
      neuron: row === null || column === null ? null : { row, column },
      target: look.target,
      rather: look.rather?.value ?? null,
      factor: look.factor,
      here: look.here && look.locked,
      unseen: () => (look.locked ? this.unseen() : []),
    };
  }

  /** The units of the present layer that are strongest at the place, with their values; of a layer in parts, of its part. */
  ranked(): [channel: number, value: number][] {
    const [stack, neuron] = [this.answer("maps"), this.sight.neuron()];
    return stack && neuron ? rankedAt(stack, neuron, RANKED) : [];
  }

  /** Where a unit's maximizing image is, if it is here. */
  imageOf(layer: string, channel: number): { page: Page; index: number } | null {
    for (const page of this.moments.of("page").all("page") as Iterable<Page>) {
      const index = page.layer === layer ? page.channels.indexOf(channel) : -1;
      if (index >= 0 && page.activations[index] !== null) return { page, index };
    }
    return null;
  }

  /** The activation of the selected unit on its own finished maximizing image, if that is here. */
  reached(): number | undefined {
    const [page, { channel }] = [this.answer("page"), this.selection];
    if (!page?.finished && !page?.made?.includes(channel)) return undefined;
    return page.activations[page.channels.indexOf(channel)] ?? undefined;
  }

  // ---- the colours of tiles ----

  setScale(change: Partial<Scale>): void {
    const { colourScale } = this.look;
    const stacks = [this, this.peer].map((store) => store?.answer("maps")).filter((stack) => stack !== undefined);
    // A fixed scale is that of what is seen when it is chosen.
    const fixed = change.mode === "fixed" && stacks.length ? Math.max(...stacks.map(reach)) : colourScale.fixed;
    this.look.see({ colourScale: { ...colourScale, fixed, ...change } });
  }

  /**
   * By unit, the value at the end of the colour scale of its tiles; shared with the compared network. Undefined: the unit's
   * own.
   */
  topOf(what: "maps" | "filters"): (unit: number) => number | undefined {
    const [stack, other] = [this.answer(what), this.peer?.answer(what)];
    if (!stack || (what === "filters" && !other)) return () => undefined;
    const scale: Scale = what === "maps" ? this.look.colourScale : { mode: "map", fixed: 1, contrast: 1 };
    return (unit) => top(stack, unit, scale, other);
  }

  /** Changes when `topOf` may. */
  topKey(what: "maps" | "filters"): string {
    const other = this.peer?.answer(what);
    const others = other ? `${other.layer} ${other.start} ${other.weights} ${this.peer?.picture?.key}` : "";
    return `${what === "maps" ? JSON.stringify(this.look.colourScale) : ""} ${others}`;
  }

  /** Python that makes the present view again, for a network called `net`, compared with one called `other`. */
  code(): string {
    const { layer, channel, row, column } = this.selection;
    const place = row === null || column === null ? "" : `@${this.sight.placeOf({ row, column })}`;
    const unit = `${layer}:${channel}${place}`;
    const known = this.samples.some(({ name, own }) => own && name === this.picture?.name);
    const picture = known ? `, picture=net.samples["${this.picture?.name}"]` : "";
    const view = this.look.view === homeOf(this.views) ? "" : `, view="${this.look.view}"`;
    const compare = this.model.get("_compared") ? ", compare=other" : "";
    return `nl.${this.model.get("_kind")}(net, unit="${unit}"${picture}${view}${compare})`;
  }

  // ---- private ----

  private joinTo(leader: Store): void {
    this.peer = leader;
    leader.peer = this;
    if (this.sight.differs) leader.setScale({ mode: "own" });
  }

  private draw(): void {
    this.frame = 0;
    for (const listener of this.listeners) listener();
    if (this.listeners.size) this.asking.ask();
  }

  /** The host says that a kernel has gone or come, but not which of the two; a message without a meaning tells. */
  private probe(): void {
    this.conversation.send({ type: "ack" });
    this.changed();
  }

  private looked(): void {
    const { selection } = this;
    const text = JSON.stringify(selection);
    if (text !== this.selected) {
      this.selected = text;
      if (this.sight.leads) this.look.announce(selection);
      this.moved();
    }
    this.changed();
  }

  private pictured(): void {
    this.picture = this.model.get("_picture");
    this.pictures.taken();
    this.moved();
  }

  private moved(): void {
    this.why = "";
    this.asking.moved();
    this.changed();
  }

  /** Ranked units whose maximizing image is not here. */
  private unseen(): number[] {
    const here = (channel: number) => this.imageOf(this.layer.name, channel)?.page.finished;
    return this.ranked().flatMap(([channel]) => (here(channel) ? [] : [channel]));
  }

  private sendPicture(content: object, buffers?: ArrayBuffer[]): void {
    this.look.tellNow(); // whose layer's maps come with the picture
    this.conversation.send(content, buffers);
  }

  private answered(open: Open, message: Message, buffers: DataView[]): void {
    this.moments.seen(message.weights);
    // What comes beside the answer, such as a page of images, is kept under its own name.
    const what = isKind(message.type) ? message.type : open.what;
    const key = what === open.what ? open.key : keyOf(what, message);
    const answers = this.moments.of(what, message.weights ?? open.weights);
    answers?.keep(what, key, message, buffers, this.decoders[what]);
    answers?.shrink(what, KEPT_BYTES, key);
    if (!answers && open.weights === this.moments.weights)
      window.setTimeout(() => this.changed(), this.conversation.wasUseless(open.what));
    if (what === "field" && this.sight.leads) this.look.measured();
    if (KINDS[what].paced && message.finished === false)
      requestAnimationFrame(() => this.conversation.send({ type: "ack" }));
    this.changed();
  }

  private ended(open: Open, message: Message): void {
    const answers = this.moments.of(open.what, message.weights ?? open.weights);
    if (message.type === "done") answers?.finish(open.what, open.key);
    this.changed();
  }

  private told(message: Message): void {
    const what = message.what ?? "";
    if (message.type === "expect") {
      const here = message.layer === undefined || message.layer === this.layer.name;
      if (here && isKind(what))
        this.conversation.expect(what, keyOf(what, message), message.id as number, message.weights as number);
    } else if (["upload", "sample", "dataset"].includes(what)) this.pictures.refuse(String(message.text));
    else this.why = String(message.text);
    this.changed();
  }
}
