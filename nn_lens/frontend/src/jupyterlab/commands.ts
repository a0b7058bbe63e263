/** What nn-lens can do, as commands with described arguments; each part is loaded when it is first used. */
import { ILabShell, type JupyterFrontEnd, type JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, showErrorMessage } from "@jupyterlab/apputils";
import { IConsoleTracker } from "@jupyterlab/console";
import { IDocumentManager } from "@jupyterlab/docmanager";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import { Bridge } from "./bridge";
import { lensIcon } from "./icons";
import { panels } from "./panels";
import { COMMANDS, DOMAIN, type Site } from "./site";

type Args = ReadonlyPartialJSONObject;

interface Described {
  label: string;
  caption: string;
  /** By name, what an argument is. */
  args?: Record<string, string>;
  /** Whether it is about panels that are open. */
  panels?: boolean;
  /** Whether it can be chosen without arguments. */
  listed?: boolean;
  run(acts: typeof import("./acts"), args: Args): Promise<unknown>;
}

export const commands: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:commands",
  description: "The commands of nn-lens: open panels, show pictures to them, dock and stop them, insert their code.",
  autoStart: true,
  optional: [INotebookTracker, IConsoleTracker, IDocumentManager, ILabShell, ITranslator, ICommandPalette],
  activate(
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    consoles: IConsoleTracker | null,
    documents: IDocumentManager | null,
    lab: ILabShell | null,
    translator: ITranslator | null,
    palette: ICommandPalette | null,
  ) {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const site: Site = { app, trans, notebooks, consoles, documents, lab };
    for (const [id, command] of Object.entries(described(site))) {
      add(site, id, command);
      if (command.listed ?? true)
        palette?.addItem({ command: id, category: trans.__("NN Lens"), args: { isPalette: true } });
    }
    const acts = () => import("./acts");
    app.docRegistry.addWidgetExtension(
      "Notebook",
      new Bridge((panel, root) => void acts().then((act) => act.dockPanel(site, panel, root))),
    );
    document.addEventListener("nn-lens:insert", (event) => {
      const { code } = (event as CustomEvent).detail;
      void acts().then((act) => act.insertView(site, event.target as HTMLElement, String(code)));
    });
  },
};

function add({ app, trans }: Site, id: string, { label, caption, args = {}, panels: needs, run }: Described): void {
  const properties = Object.fromEntries(
    Object.entries(args).map(([name, description]) => [name, { type: "string", description }]),
  );
  app.commands.addCommand(id, {
    label,
    caption,
    icon: (given) => (given.isPalette ? undefined : lensIcon),
    describedBy: { args: { type: "object", properties } },
    isEnabled: () => !needs || panels.all.length > 0,
    execute: async (given) => {
      try {
        return await run(await import("./acts"), given);
      } catch (error) {
        await showErrorMessage(trans.__("nn-lens could not do that"), error as Error);
      }
    },
  });
}

function described(site: Site): Record<string, Described> {
  const { trans } = site;
  const unit = trans.__("The unit to begin with, as “layer:channel”.");
  const folder = trans.__("The folder for a new notebook.");
  return {
    [COMMANDS.firstLook]: {
      label: trans.__("Look into a network (nn\u2011lens)"),
      caption: trans.__("Open the starter notebook with the panel of a bundled network"),
      args: { cwd: folder },
      run: (acts, { cwd }) => acts.openTutorial(site, "01_first_look", String(cwd ?? "")),
    },
    [COMMANDS.tutorial]: {
      label: trans.__("Open a Tutorial"),
      caption: trans.__("Choose one of the notebooks that lead through nn-lens"),
      args: { name: trans.__("The notebook’s name, without its ending; asked for where it is missing."), cwd: folder },
      run: (acts, { name, cwd }) => acts.openTutorial(site, String(name ?? ""), String(cwd ?? "")),
    },
    [COMMANDS.demo]: {
      label: trans.__("Open the Lens on the Bundled Network"),
      caption: trans.__("Show a trained network of 20 everyday things, in this notebook or console"),
      args: { unit, cwd: folder },
      run: (acts, args) => acts.open(site, "nl.demo()", args),
    },
    [COMMANDS.model]: {
      label: trans.__("Open the Lens on a Model of This Notebook"),
      caption: trans.__("Choose one of the networks that the kernel holds"),
      args: { name: trans.__("The model’s name in the kernel; asked for where it is missing."), unit },
      run: (acts, args) => acts.openModel(site, args),
    },
    [COMMANDS.checkpoint]: {
      label: trans.__("Open a Checkpoint in the Lens"),
      caption: trans.__("Show the network of a .pt, .pth or .safetensors file; no code in it is run"),
      args: { path: trans.__("The file, as the file browser names it.") },
      listed: false,
      run: (acts, { path }) => acts.openCheckpoint(site, String(path ?? "")),
    },
    [COMMANDS.picture]: {
      label: trans.__("Show a Picture to the Lens"),
      caption: trans.__("Have the open panel look at a picture, or open one that does"),
      args: { path: trans.__("The file, as the file browser names it.") },
      listed: false,
      run: (acts, { path }) => acts.showPicture(site, String(path ?? "")),
    },
    [COMMANDS.insert]: {
      label: trans.__("Insert the Panel’s View as Code"),
      caption: trans.__("Put the Python that makes the present view into a cell"),
      panels: true,
      run: async (acts) => acts.askForCode(site),
    },
    [COMMANDS.dock]: {
      label: trans.__("Dock the Panel beside the Notebook"),
      caption: trans.__("Show the panel in a view of its own, right of its notebook"),
      panels: true,
      run: (acts) => acts.dockFront(site),
    },
    [COMMANDS.stop]: {
      label: trans.__("Stop All Work of the Lens"),
      caption: trans.__("Have every open panel stop what it is making"),
      panels: true,
      run: async (acts) => acts.stopAll(),
    },
  };
}
