/** The row that drives everything: layer slider, unit slider, view switch. */
import { el, say } from "../drawing/dom";
import { Combo } from "../finding/combo";
import { Layers, layerText, Units } from "./choices";
import { Help } from "./help";
import type { Host } from "./host";
import type { Order } from "./look";
import { Menu } from "./menu";
import { isOwn, TABS, type Tab } from "./questions";
import { sliceOf } from "./sight";
import type { Store } from "./store";
import { cut, reworded } from "./words";

/** Milliseconds a unit stays while they are run through. */
const PLAY = 500;
/** Letters of a unit's name. */
const NAME = 24;

export class Controls {
  readonly root: HTMLElement;
  private readonly layer = el("input", { type: "range", min: 0, class: "layer", "aria-label": "layer" });
  private readonly unit = el("input", { type: "range", min: 0, class: "unit", "aria-label": "unit" });
  private readonly number = el("input", { type: "number", min: 0, class: "number", "aria-label": "unit number" });
  private readonly time = el("input", { type: "range", min: 0, class: "time", "aria-label": "step of the training" });
  private readonly timeText = el("output", { class: "text" });
  private readonly timeRow = el(
    "label",
    { class: "slider", hidden: true },
    el("span", {}, "Step"),
    this.time,
    this.timeText,
  );
  private readonly slice = el("input", { type: "range", min: 0, class: "slice", "aria-label": "slice of the volume" });
  private readonly sliceText = el("output", { class: "text" });
  private readonly layers: Combo;
  private readonly units: Combo;
  private readonly order = el("select", { class: "order", "aria-label": "order of the units" });
  private readonly unitText = el("output", { class: "text" });
  private readonly problem = el("p", { class: "problem", role: "alert" });
  private readonly play = el(
    "button",
    { type: "button", "aria-pressed": "false", title: "runs through the units" },
    "Play",
  );
  private readonly help: Help;
  private readonly menu: Menu;
  /** Only where a host can do it. */
  private readonly dock = el("button", { type: "button", class: "dock", hidden: true }, "↗");
  private timer = 0;
  private readonly switches = new Map<string, HTMLButtonElement>();

  /** `host` is there once the panel is. */
  constructor(
    private readonly store: Store,
    private readonly host: () => Host,
  ) {
    const names = store.network.layers.map((layer) => layer.name);
    this.layer.max = String(names.length - 1);
    this.layer.hidden = names.length < 2; // an exported page may have one
    this.layer.addEventListener("input", () => store.sight.selectLayer(Number(this.layer.value)));
    this.time.addEventListener("input", () => {
      store.moments.step = store.moments.steps[Number(this.time.value)]?.step ?? null;
    });
    const { depth } = store.network;
    this.slice.max = String((depth ?? 1) - 1);
    this.slice.addEventListener("input", () => {
      store.look.slice = (Number(this.slice.value) + 0.5) / (depth ?? 1);
    });
    const slices = el("label", { class: "slider" }, el("span", {}, "Slice"), this.slice, this.sliceText);
    slices.hidden = depth === null || !store.live;
    this.unit.addEventListener("input", () => this.select(store.order.unit(Number(this.unit.value))));
    this.number.addEventListener("change", () => this.select(Number(this.number.value)));
    this.layers = new Combo("layer", new Layers(store));
    this.units = new Combo("unit", new Units(store));
    for (const [value, text] of [
      ["number", "by number"],
      ["strongest", "strongest here first"],
    ])
      this.order.append(el("option", { value }, text));
    this.order.title = this.words(
      "the order in which units are gone through: strongest on this picture, or at the locked place",
    );
    this.order.addEventListener("change", () => store.look.see({ order: this.order.value as Order }));
    const tabs = Object.keys(TABS) as Tab[];
    for (const tab of store.views.length > 2 ? tabs : []) {
      if (tab !== "all" && !store.views.some((view) => isOwn(view, tab))) continue;
      const choose = () => {
        store.look.view = tab;
      };
      const title = reworded(TABS[tab], store.network.kind);
      this.switches.set(tab, el("button", { type: "button", onclick: choose }, title));
    }
    this.play.addEventListener("click", () => this.toggle());
    for (const slider of [this.layer, this.unit]) slider.addEventListener("pointerdown", () => this.rest());
    this.help = new Help(store);
    this.menu = new Menu(store);
    this.dock.title = "in a window of its own, beside the notebook";
    this.dock.setAttribute("aria-label", this.dock.title);
    this.dock.addEventListener("click", () => host().dock());
    const question = el("button", { type: "button", class: "question", onclick: () => this.help.toggle() }, "?");
    question.title = "What am I looking at? (h)";
    question.setAttribute("aria-label", "help");
    this.root = el(
      "div",
      { class: "controls" },
      this.timeRow,
      el("div", { class: "slider" }, el("span", {}, "Layer"), this.layers.root, this.layer),
      el(
        "div",
        { class: "slider units" },
        el("span", {}, "Unit"),
        this.units.root,
        this.number,
        this.unitText,
        this.unit,
        this.order,
        this.play,
      ),
      slices,
      el("div", { class: "switch", role: "group", "aria-label": "view" }, ...this.switches.values()),
      el("div", { class: "more" }, this.dock, question, this.menu.root),
      this.problem,
      this.help.root,
    );
  }

  close(): void {
    this.rest();
    this.layers.close();
    this.units.close();
  }

  private select(channel: number): void {
    this.store.sight.select(this.store.layer.name, channel);
  }

  private words(text: string): string {
    return reworded(text, this.store.network.kind);
  }

  showHelp(): void {
    this.help.toggle();
  }

  /** Closes what Esc closes; whether something was open. */
  shut(): boolean {
    const is = this.help.isOpen;
    this.help.close();
    return is;
  }

  private toggle(): void {
    if (this.timer) {
      this.rest();
      return;
    }
    this.timer = window.setInterval(() => {
      const { layer, order, selection } = this.store;
      this.select(order.unit((order.at(selection.channel) + 1) % layer.channels));
    }, PLAY);
    say(this.play, "Pause");
    this.play.setAttribute("aria-pressed", "true");
  }

  private rest(): void {
    clearInterval(this.timer);
    this.timer = 0;
    say(this.play, "Play");
    this.play.setAttribute("aria-pressed", "false");
  }

  draw(): void {
    const { store } = this;
    const { layer } = store;
    const index = store.network.layers.indexOf(layer);
    this.drawTime();
    this.drawSlice();
    this.help.draw();
    this.dock.hidden = !this.host().here;
    this.layer.value = String(index);
    this.layer.setAttribute("aria-valuetext", `${layer.name}, ${layer.kind}`);
    this.layers.set(layer.name, ...layerText(store));
    const { channel } = store.selection;
    this.unit.max = this.number.max = String(layer.channels - 1);
    this.unit.value = String(store.order.at(channel));
    const name = store.nameOf(layer.name, channel);
    this.unit.setAttribute("aria-valuetext", `unit ${name}`);
    // Names are chosen by name; numbers are typed.
    this.units.root.hidden = !layer.classes;
    this.units.set(String(channel), cut(name, NAME), name);
    this.number.hidden = layer.classes;
    if (document.activeElement !== this.number) this.number.value = String(channel);
    this.order.value = store.look.order;
    say(this.unitText, `of ${layer.channels}`);
    say(this.problem, store.refused);
    this.problem.hidden = !store.refused;
    for (const [view, button] of this.switches) button.setAttribute("aria-pressed", String(view === store.look.view));
  }

  private drawSlice(): void {
    const { depth } = this.store.network;
    if (depth === null) return;
    const slice = sliceOf(this.store.look.slice, depth);
    this.slice.value = String(slice);
    this.slice.setAttribute("aria-valuetext", `slice ${slice} of 0 to ${depth - 1}`);
    say(this.sliceText, `${slice} of 0–${depth - 1}`);
  }

  /** What was recorded in the training, and at the end the model as it is. */
  private drawTime(): void {
    const { steps, step } = this.store.moments;
    this.timeRow.hidden = !steps.length;
    if (!steps.length) return;
    const at = steps.findIndex((each) => each.step === step);
    this.time.max = String(steps.length);
    this.time.value = String(at < 0 ? steps.length : at);
    const text = at < 0 ? "the model as it is" : `step ${step}`;
    this.time.setAttribute("aria-valuetext", text);
    say(this.timeText, `${text} · ${steps.length} recorded`);
  }
}
