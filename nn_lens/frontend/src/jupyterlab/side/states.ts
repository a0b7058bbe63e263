/** Why there is no list of networks, each in words and with the way out. */
import type { Document, Site } from "../site";
import { COMMANDS } from "../site";
import type { Inspector } from "./watching";

/** What is said, and a command that helps; `insert`: code that is put into a cell. */
export interface Word {
  text: string;
  button?: string;
  command?: string;
  insert?: string;
  again?: boolean;
}

/** What JupyterLab says of a kernel that is not there yet, but will be. */
const STARTING: ReadonlySet<string> = new Set([
  "starting",
  "initializing",
  "connecting",
  "restarting",
  "autorestarting",
]);

/** Null where there are networks to list. */
export function wordFor(site: Site, document: Document | null, inspector: Inspector | null): Word | null {
  const { trans } = site;
  if (!document)
    return {
      text: trans.__("Open a notebook or a console: the networks of its kernel are listed here."),
      button: trans.__("Open the starter notebook"),
      command: COMMANDS.firstLook,
    };
  const { sessionContext: context } = document.panel;
  const of = document.is === "notebook" ? "notebook" : "console";
  const kernel = context.session?.kernel;
  if (!kernel || !inspector) {
    if (STARTING.has(context.kernelDisplayStatus)) return { text: trans.__("The kernel starts…") };
    return {
      text: trans.__("There is no kernel behind %1.", document.panel.title.label),
      button: trans.__("Choose a kernel"),
      command: `${of}:change-kernel`,
    };
  }
  return wordForKernel(site, of, inspector, kernel.status, kernel.connectionStatus, context.kernelDisplayName);
}

function wordForKernel(
  { trans }: Site,
  of: "notebook" | "console",
  inspector: Inspector,
  status: string,
  connection: string,
  name: string,
): Word | null {
  if (connection === "disconnected")
    return {
      text: trans.__("The connection to the kernel is lost."),
      button: trans.__("Connect again"),
      command: "notebook:reconnect-to-kernel",
    };
  if (status === "dead" || status === "terminating")
    return { text: trans.__("The kernel has died."), button: trans.__("Restart it"), command: `${of}:restart-kernel` };
  const { language, seen, failed, busy } = inspector;
  if (status === "restarting" || status === "autorestarting" || status === "starting" || !language)
    return { text: trans.__("The kernel starts…") };
  if (language !== "python")
    return {
      text: trans.__("%1 speaks %2; nn-lens looks into networks of Python.", name, language),
      button: trans.__("Choose another kernel"),
      command: `${of}:change-kernel`,
    };
  if (failed && !seen)
    return { text: trans.__("The kernel did not answer."), button: trans.__("Ask again"), again: true };
  if (!seen)
    return { text: busy ? trans.__("A cell runs. The networks are listed when it has ended.") : trans.__("Looking…") };
  if (seen.is === "absent")
    return {
      text: trans.__("nn-lens is not installed where this kernel runs."),
      button: trans.__("Insert the line that installs it"),
      insert: "%pip install nn-lens",
    };
  if (seen.nets.length) return null;
  return {
    text:
      seen.is === "idle"
        ? trans.__(
            "PyTorch is not loaded in this kernel. Run the cell that makes your network, or open the bundled one.",
          )
        : trans.__(
            "No name of this kernel stands for a torch module. Run the cell that makes one, or open the bundled network.",
          ),
    button: trans.__("Open the bundled network"),
    command: COMMANDS.demo,
  };
}
