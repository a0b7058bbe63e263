/** A card of JupyterLab's launcher, which opens the starter notebook. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ILauncher } from "@jupyterlab/launcher";
import { DRAWING } from "./icons";
import { COMMANDS } from "./site";

export const launcher: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:launcher",
  description: "A card of the launcher that opens the starter notebook of nn-lens.",
  autoStart: true,
  optional: [ILauncher],
  activate(_app: JupyterFrontEnd, cards: ILauncher | null) {
    // Cards of this category are drawn with pictures, not with icons; a category's name is also its key.
    const kernelIconUrl = `data:image/svg+xml,${encodeURIComponent(DRAWING)}`;
    cards?.add({ command: COMMANDS.firstLook, category: "Notebook", rank: 50, kernelIconUrl });
  },
};
