/** The row that drives everything: layer slider, unit slider, view switch. */
import { el, say } from "../drawing/dom";
import { Combo } from "../finding/combo";
import { Layers, layerText, Units } from "./choices";
import { Help } from "./help";
import type { Host } from "./host";
import type { Order } from "./look";
import { Menu } from "./menu";
import { isOwn, TABS } from "./questions";
import { sliceOf } from "./sight";
import type { Store } from "./store";
import { aboutOf, STRINGS } from "./strings";
import { cut, phrase, reworded } from "./words";

/** Milliseconds a unit stays while they are run through. */
const PLAY = 500;
/** Letters of a unit's name. */
const NAME = 24;

/** A slider from 0 on. */
const slider = (name: "layer" | "unit" | "time", label: string): HTMLInputElement =>
  el("input", { type: "range", min: 0, class: name, "aria-label": label });

export class Controls {
  readonly root: HTMLElement;
  private readonly layer = slider("layer", phrase("controls.layerSlider"));
  private readonly unit = slider("unit", phrase("controls.unitSlider"));
  private readonly number = el("input", {
    type: "number",
    min: 0,
    class: "number",
    "aria-label": phrase("controls.unitNumber"),
  });
  private readonly time = slider("time", phrase("controls.stepSlider"));
  private readonly timeText = el("output", { class: "text" });
  private readonly timeRow = el(
    "label",
    { class: "slider", hidden: true },
    el("span", {}, phrase("controls.step")),
    this.time,
    this.timeText,
  );
  private readonly slice = el("input", {
    type: "range",
    min: 0,
    class: "slice",
    "aria-label": phrase("controls.sliceSlider"),
  });
  private readonly sliceText = el("output", { class: "text" });
  private readonly layers: Combo;
  private readonly units: Combo;
  private readonly order = el("select", { class: "order", "aria-label": phrase("controls.orderLabel") });
  private readonly unitText = el("output", { class: "text" });
  private readonly problem = el("p", { class: "problem", role: "alert" });
  private readonly play = el(
    "button",
    { type: "button", "aria-pressed": "false", title: phrase("controls.playTitle") },
    phrase("controls.play"),
  );
  private readonly help: Help;
  private readonly menu: Menu;
  /** Only where a host can do it. */
  private readonly dock = el("button", { type: "button", class: "dock", hidden: true }, "↗");
  private timer = 0;
  private readonly switches = new Map<string, HTMLButtonElement>();
  private readonly tabs = el("div", { class: "switch", role: "group", "aria-label": phrase("controls.viewLabel") });
  /** The one that was last brought into sight. */
  private tab = "";

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
    const slices = el(
      "label",
      { class: "slider" },
      el("span", {}, phrase("controls.slice")),
      this.slice,
      this.sliceText,
    );
    slices.hidden = depth === null || !store.live;
    this.unit.addEventListener("input", () => this.select(store.order.unit(Number(this.unit.value))));
    this.number.addEventListener("change", () => this.select(Number(this.number.value)));
    this.layers = new Combo(phrase("controls.layerSlider"), new Layers(store));
    this.units = new Combo(phrase("controls.unitSlider"), new Units(store));
    for (const value of ["number", "strongest"] as const)
      this.order.append(el("option", { value }, phrase(`controls.order.${value}`)));
    this.order.title = phrase("controls.orderTitle", {}, store.network.kind);
    this.order.addEventListener("change", () => store.look.see({ order: this.order.value as Order }));
    for (const tab of store.views.length > 2 ? TABS : []) {
      if (tab !== "all" && !store.views.some((view) => isOwn(view, tab))) continue;
      const choose = () => {
        store.look.view = tab;
      };
      const title = reworded(STRINGS.tabs[tab], store.network.kind);
      const button = el("button", { type: "button", onclick: choose }, title);
      const shows = tab === "all" || tab === "evidence" ? phrase(`controls.${tab}`) : aboutOf(tab)[0];
      button.title = reworded(shows, store.network.kind);
      this.switches.set(tab, button);
      this.tabs.append(button);
    }
    this.play.addEventListener("click", () => this.toggle());
    for (const slider of [this.layer, this.unit]) slider.addEventListener("pointerdown", () => this.rest());
    this.help = new Help(store);
    this.menu = new Menu(store);
    this.dock.title = phrase("controls.dock");
    this.dock.setAttribute("aria-label", this.dock.title);
    this.dock.addEventListener("click", () => host().dock());
    const question = el("button", { type: "button", class: "question", onclick: () => this.help.toggle() }, "?");
    question.title = `${STRINGS.help.title} (h)`;
    question.setAttribute("aria-label", phrase("controls.help"));
    this.root = el(
      "div",
      { class: "controls" },
      this.timeRow,
      el("div", { class: "slider" }, el("span", {}, phrase("controls.layer")), this.layers.root, this.layer),
      el(
        "div",
        { class: "slider units" },
        el("span", {}, phrase("controls.unit")),
        this.units.root,
        this.number,
        this.unitText,
        this.unit,
        this.order,
        this.play,
      ),
      slices,
      this.tabs,
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
    say(this.play, phrase("controls.pause"));
    this.play.setAttribute("aria-pressed", "true");
  }

  private rest(): void {
    clearInterval(this.timer);
    this.timer = 0;
    say(this.play, phrase("controls.play"));
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
    this.unit.setAttribute("aria-valuetext", phrase("unit", { name }));
    // Names are chosen by name; numbers are typed.
    this.units.root.hidden = !layer.classes;
    this.units.set(String(channel), [cut(name, NAME)], name);
    this.number.hidden = layer.classes;
    if (!this.number.matches(":focus")) this.number.value = String(channel);
    this.order.value = store.look.order;
    say(this.unitText, phrase("controls.of", { count: layer.channels }));
    say(this.problem, store.refused);
    this.problem.hidden = !store.refused;
    this.drawTabs(store.look.view);
  }

  private drawTabs(view: string): void {
    for (const [tab, button] of this.switches) button.setAttribute("aria-pressed", String(tab === view));
    const [chosen, row] = [this.switches.get(view), this.tabs];
    if (view === this.tab || !chosen || !row.clientWidth) return;
    this.tab = view;
    // In a narrow column the tabs are a row that scrolls.
    row.scrollLeft = chosen.offsetLeft - row.offsetLeft - (row.clientWidth - chosen.offsetWidth) / 2;
  }

  private drawSlice(): void {
    const { depth } = this.store.network;
    if (depth === null) return;
    const slice = sliceOf(this.store.look.slice, depth);
    this.slice.value = String(slice);
    this.slice.setAttribute("aria-valuetext", phrase("controls.sliceText", { slice, last: depth - 1 }));
    say(this.sliceText, phrase("controls.sliceOf", { slice, last: depth - 1 }));
  }

  /** What was recorded in the training, and at the end the model as it is. */
  private drawTime(): void {
    const { steps, step } = this.store.moments;
    this.timeRow.hidden = !steps.length;
    if (!steps.length) return;
    const at = steps.findIndex((each) => each.step === step);
    this.time.max = String(steps.length);
    this.time.value = String(at < 0 ? steps.length : at);
    const text = at < 0 ? phrase("controls.now") : phrase("controls.stepText", { step: String(step) });
    this.time.setAttribute("aria-valuetext", text);
    say(this.timeText, phrase("controls.recorded", { text, count: steps.length }));
  }
}
