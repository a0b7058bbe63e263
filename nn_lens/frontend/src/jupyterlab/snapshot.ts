/** Keeps a picture of each panel in its notebook, and shows it where there is no kernel. */
import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ITranslator, nullTranslator } from "@jupyterlab/translation";
import { Keeper } from "./keeping";
import { DOMAIN } from "./site";

export const snapshot: JupyterFrontEndPlugin<void> = {
  id: "nn-lens:snapshot",
  description: "Keeps a picture of each panel of nn-lens in its notebook, shown where there is no kernel.",
  autoStart: true,
  optional: [ITranslator],
  activate(app: JupyterFrontEnd, translator: ITranslator | null) {
    app.docRegistry.addWidgetExtension("Notebook", new Keeper((translator ?? nullTranslator).load(DOMAIN)));
  },
};
