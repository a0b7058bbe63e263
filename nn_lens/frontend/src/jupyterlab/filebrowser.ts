/** The file browser's context menu: pictures are shown to the lens, checkpoints opened in it. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { lensIcon } from "./icons";
import { COMMANDS, DOMAIN } from "./site";

const PICTURE = /\.(png|jpe?g|gif|bmp|webp|tiff?)$/i;
const CHECKPOINT = /\.(pt|pth|safetensors)$/i;

export const filebrowser: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:filebrowser",
  description: "Entries of the file browser's context menu that show pictures and checkpoints to nn-lens.",
  autoStart: true,
  requires: [IFileBrowserFactory],
  optional: [ITranslator],
  activate(app: JupyterFrontEnd, browsers: IFileBrowserFactory, translator: ITranslator | null) {
    const trans = (translator ?? nullTranslator).load(DOMAIN);
    const add = (id: string, label: string, kind: RegExp, command: string) => {
      app.commands.addCommand(id, {
        label,
        icon: lensIcon,
        describedBy: { args: { type: "object", properties: {} } },
        isVisible: () => chosenFile(browsers, kind) !== null && app.commands.hasCommand(command),
        execute: () => {
          const path = chosenFile(browsers, kind);
          return path === null ? undefined : app.commands.execute(command, { path });
        },
      });
    };
    add("nn-lens:show-chosen-picture", trans.__("Show to the Lens"), PICTURE, COMMANDS.picture);
    add("nn-lens:open-chosen-checkpoint", trans.__("Open in the Lens"), CHECKPOINT, COMMANDS.checkpoint);
  },
};

/** The one file that is chosen, of a kind; a menu asks this of every click, and an error would take the whole menu away. */
function chosenFile({ tracker }: IFileBrowserFactory, kind: RegExp): string | null {
  try {
    const [item, ...others] = [...(tracker.currentWidget?.selectedItems() ?? [])];
    return item && !others.length && item.type !== "directory" && kind.test(item.name) ? item.path : null;
  } catch {
    return null;
  }
}
