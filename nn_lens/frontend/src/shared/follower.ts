/** The store of a network that is compared: what it looks at is its leader's choice, and what is done to it is done there. */
import type { AnyModel } from "@anywidget/types";
import type { Selection } from "./protocol";
import { type Looks, type Place, Store } from "./store";

export class Follower extends Store {
  private readonly layersOf: Record<string, string>;
  private readonly unsubscribe: () => void;

  constructor(
    model: AnyModel,
    private readonly leader: Store,
  ) {
    super(model);
    this.layersOf = model.get("_follows");
    this.peer = leader;
    leader.peer = this;
    // Values of other layers have no scale in common.
    if (Object.entries(this.layersOf).some(([theirs, own]) => theirs !== own)) leader.setScale({ mode: "own" });
    this.unsubscribe = leader.subscribe(() => this.followLeader());
  }

  override close(): void {
    this.unsubscribe();
    this.leader.peer = null;
    super.close();
  }

  /** Looks where the leader looks: at the counterpart of its layer, the same channel or the last, the same place. */
  private followLeader(): void {
    const { leader } = this;
    const layer = this.layersOf[leader.selection.layer];
    const channel = Math.min(leader.selection.channel, (this.layers.get(layer)?.channels ?? 1) - 1);
    const moved = layer !== this.selection.layer || channel !== this.selection.channel;
    if (!moved && this.looks === leader.looks) return;
    this.looks = leader.looks;
    this.selection = { layer, channel, row: null, column: null };
    this.follow();
    this.moved();
  }

  /** The neuron at the leader's place, which is another once this layer's receptive field is known. */
  protected override follow(): void {
    if (this.looks?.locked) this.selection = { ...this.selection, ...this.neuron() };
  }

  protected override chosenInPython(_: Selection): void {}

  override get view(): string {
    return this.leader.view;
  }

  override set view(name: string) {
    this.leader.view = name;
  }

  override select(layer: string, channel: number): void {
    const { leader } = this;
    const now = leader.selection.layer;
    const pairs = Object.entries(this.layersOf);
    const there = this.layersOf[now] === layer ? now : pairs.find(([, own]) => own === layer)?.[0];
    if (there) leader.select(there, channel);
  }

  override look(place: Place | null): void {
    this.leader.look(place);
  }

  override lock(): void {
    this.leader.lock();
  }

  override stay(place: Place | null): void {
    this.leader.stay(place);
  }

  override see(change: Partial<Looks>): void {
    this.leader.see(change);
  }

  override get selected(): number[] {
    return this.leader.selected;
  }

  override set selected(numbers: number[]) {
    this.leader.selected = numbers;
  }

  override chooseFromDataset(index: number): void {
    this.leader.chooseFromDataset(index);
  }

  override chooseSample(name: string): void {
    this.leader.chooseSample(name);
  }

  override upload(name: string, data: Uint8Array): void {
    this.leader.upload(name, data);
  }

  override failedUpload(text: string): void {
    this.leader.failedUpload(text);
  }
}
