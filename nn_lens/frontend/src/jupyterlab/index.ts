/** The extension of JupyterLab and Notebook 7: plugins that can each be switched off. */
import { commands } from "./commands";
import { filebrowser } from "./filebrowser";
import { launcher } from "./launcher";
import { sidepanel } from "./sidepanel";
import { snapshot } from "./snapshot";
import { status } from "./status";

export default [commands, launcher, sidepanel, filebrowser, status, snapshot];
