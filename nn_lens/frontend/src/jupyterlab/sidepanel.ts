/** The side panel: an icon until it is first looked at; what it shows is loaded then. */
import { ILabShell, ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette } from "@jupyterlab/apputils";
import { IConsoleTracker } from "@jupyterlab/console";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ISettingRegistry } from "@jupyterlab/settingregistry";
import { ITranslator, nullTranslator, type TranslationBundle } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { lensIcon } from "./icons";
import type { SideView } from "./side/view";
import { DOMAIN, type Site } from "./site";

const ID = "nn-lens-side-panel";
const TOGGLE = "nn-lens:toggle-side-panel";

export const sidepanel: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:sidepanel",
  description: "A side panel that lists the networks of the active notebook's kernel, each as a tree of its layers.",
  autoStart: true,
  requires: [INotebookTracker],
  optional: [IConsoleTracker, ILabShell, ILayoutRestorer, ITranslator, ISettingRegistry, ICommandPalette],
  activate(
    app: JupyterFrontEnd,
    notebooks: INotebookTracker,
    consoles: IConsoleTracker | null,
    lab: ILabShell | null,
    restorer: ILayoutRestorer | null,
    translator: ITranslator | null,
    settings: ISettingRegistry | null,
    palette: ICommandPalette | null,
  ) {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const panel = new SidePanel({ app, trans, notebooks, consoles, documents: null, lab });
    restorer?.add(panel, ID);
    const show = (is: boolean) => {
      if (is && !panel.isAttached) app.shell.add(panel, "left", { rank: 500 });
      if (!is && panel.isAttached) panel.parent = null;
    };
    void wanted(settings, show);
    app.commands.addCommand(TOGGLE, {
      label: trans.__("Show the Networks of This Notebook"),
      caption: trans.__("Open or close the side panel of nn-lens"),
      describedBy: { args: { type: "object", properties: {} } },
      isToggled: () => panel.isVisible,
      isEnabled: () => panel.isAttached,
      execute: () => {
        if (!panel.isVisible) app.shell.activateById(ID);
        else if (lab) lab.collapseLeft();
        else (app.shell as unknown as { collapseLeft?(): void }).collapseLeft?.();
      },
    });
    palette?.addItem({ command: TOGGLE, category: trans.__("NN Lens") });
  },
};

/** Shows the panel as the settings say, now and whenever they change. */
async function wanted(settings: ISettingRegistry | null, show: (is: boolean) => void): Promise<void> {
  try {
    const own = await settings?.load("nn-lens:commands");
    const changed = () => show(own?.get("sidePanel").composite !== false);
    own?.changed.connect(changed);
    changed();
  } catch {
    show(true); // the plugin that has the settings is switched off
  }
}

class SidePanel extends Widget {
  private view: Promise<SideView> | null = null;
  private readonly trans: TranslationBundle;

  constructor(private readonly site: Site) {
    super();
    this.trans = site.trans;
    this.id = ID;
    this.addClass("nn-lens-side");
    this.title.icon = lensIcon;
    this.title.caption = this.trans.__("NN Lens");
    this.node.setAttribute("role", "region");
    this.node.setAttribute("aria-label", this.trans.__("NN Lens"));
  }

  protected override onAfterShow(): void {
    this.look(true);
  }

  protected override onAfterAttach(): void {
    this.look(this.isVisible);
  }

  protected override onBeforeHide(): void {
    this.look(false);
  }

  protected override onBeforeDetach(): void {
    this.look(false);
  }

  /** Only what is seen asks the kernel. */
  private look(is: boolean): void {
    if (!is && !this.view) return;
    this.view ??= import("./side/view").then(({ SideView }) => new SideView(this.node, this.site));
    void this.view.then((view) => view.look(this.isVisible && is));
  }
}
