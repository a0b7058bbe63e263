/** What the panels are at, in the status bar: busy or idle, what, how far, and a way to stop it. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IStatusBar } from "@jupyterlab/statusbar";
import { ITranslator, nullTranslator, type TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { panels } from "./panels";
import { COMMANDS, DOMAIN } from "./site";

export const status: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:status",
  description: "Says in the status bar what the panels of nn-lens are at, and stops it.",
  autoStart: true,
  optional: [IStatusBar, ITranslator],
  activate(app: JupyterFrontEnd, bar: IStatusBar | null, translator: ITranslator | null) {
    const item = new Status(
      (translator ?? nullTranslator).load(DOMAIN),
      () => void app.commands.execute(COMMANDS.stop),
    );
    const id = "nn-lens:status";
    if (bar) bar.registerStatusItem(id, { item, align: "left", rank: 900 });
    else {
      item.id = id;
      app.shell.add(item, "top", { rank: 900 }); // Notebook 7 has no status bar
    }
  },
};

class Status extends Widget {
  private readonly text = document.createElement("span");
  private readonly button = document.createElement("button");

  constructor(
    private readonly trans: TranslationBundle,
    stop: () => void,
  ) {
    super();
    this.addClass("nn-lens-status");
    this.text.setAttribute("role", "status");
    this.button.type = "button";
    this.button.textContent = trans.__("Stop");
    this.button.title = trans.__("Stop all work of the lens");
    this.button.style.cssText =
      "margin-left:6px;padding:0 6px;border:1px solid currentColor;border-radius:2px;background:none;color:inherit;font:inherit;cursor:pointer";
    this.button.addEventListener("click", stop);
    this.node.style.cssText = "align-items:center;height:100%;padding:0 6px;white-space:nowrap";
    this.node.append(this.text, this.button);
    panels.changed.connect(this.draw, this);
    this.draw();
  }

  private draw(): void {
    const { trans } = this;
    const all = panels.all;
    // A panel that is docked is drawn twice.
    const busy = new Map(all.filter(({ what }) => what).map((each) => [`${each.model} ${each.unit}`, each]));
    const [first] = busy.values();
    const far = first?.share === null || !first ? "" : ` ${Math.round(first.share * 100)} %`;
    const more = busy.size > 1 ? ` ${trans.__("and %1 more", busy.size - 1)}` : "";
    const text = first ? trans.__("Lens: %1", `${first.what}${far}${more}`) : trans.__("Lens: idle");
    if (this.text.textContent !== text) this.text.textContent = text;
    this.button.hidden = !first;
    this.button.style.display = first ? "" : "none";
    this.node.style.display = all.length ? "flex" : "none";
  }
}
