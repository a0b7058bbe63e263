/** JupyterLab: the bridge to panels in notebooks; a launcher card and a palette command that open the starter notebook, made where it is missing. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, showErrorMessage } from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import { ILauncher } from "@jupyterlab/launcher";
import type { Contents } from "@jupyterlab/services";
import { LabIcon } from "@jupyterlab/ui-components";
import starter from "./first_look.json";
import { Bridge } from "./notebooks";

const COMMAND = "nn-lens:first-look";
const NAME = "01_first_look.ipynb";

const DRAWING = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke-width="2" stroke-linecap="round">
  <circle class="jp-icon3" stroke="#616161" cx="10" cy="10" r="7"/><path class="jp-icon3" stroke="#616161" d="M15.5 15.5 21 21"/>
  <path stroke="#1976d2" d="M6.5 12.5 12 6.5M9.5 13 13 9"/></svg>`;

const icon = new LabIcon({ name: "nn-lens:lens", svgstr: DRAWING });

/** The starter notebook's path: in `folder`, where `nn-lens` puts it, in a checkout, or made anew in `folder`. */
async function starterPath(contents: Contents.IManager, folder: string): Promise<string> {
  // Folders are listed: asking for a file that is not there would leave an error in the console.
  const names = async (path: string): Promise<string[]> =>
    (await contents.get(path)).content.map((entry: Contents.IModel) => entry.name);
  const root = await names("");
  for (const path of new Set([folder, "", ...(root.includes("notebooks") ? ["notebooks"] : [])])) {
    if ((path ? await names(path) : root).includes(NAME)) return path ? `${path}/${NAME}` : NAME;
  }
  const here = folder ? `${folder}/${NAME}` : NAME;
  await contents.save(here, { type: "notebook", format: "json", content: starter });
  return here;
}

const bridge: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:bridge",
  description: "Docks panels of nn-lens beside their notebook, and keeps a picture of each in it.",
  autoStart: true,
  activate(app: JupyterFrontEnd) {
    app.docRegistry.addWidgetExtension("Notebook", new Bridge(app));
  },
};

const plugin: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:starter",
  description: "Opens the starter notebook of nn-lens.",
  autoStart: true,
  requires: [IDocumentManager],
  optional: [ILauncher, ICommandPalette],
  activate(
    app: JupyterFrontEnd,
    documents: IDocumentManager,
    launcher: ILauncher | null,
    palette: ICommandPalette | null,
  ) {
    app.commands.addCommand(COMMAND, {
      label: "Look into a network (nn\u2011lens)",
      caption: "Open the starter notebook with the panel of a bundled network",
      icon: (args) => (args.isPalette ? undefined : icon),
      execute: async (args) => {
        try {
          const path = await starterPath(app.serviceManager.contents, String(args.cwd ?? ""));
          return documents.openOrReveal(path);
        } catch (error) {
          await showErrorMessage("nn-lens could not open its starter notebook", error as Error);
        }
      },
    });
    // The launcher draws cards of this category with pictures, not with icons.
    const kernelIconUrl = `data:image/svg+xml,${encodeURIComponent(DRAWING)}`;
    launcher?.add({ command: COMMAND, category: "Notebook", rank: 50, kernelIconUrl });
    palette?.addItem({ command: COMMAND, category: "nn-lens", args: { isPalette: true } });
  },
};

export default [plugin, bridge];
