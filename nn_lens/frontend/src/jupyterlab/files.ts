/** Files as the contents service names them, and as Python does. */
import type { Site } from "./site";

/** The name of the drive that shared documents are opened by, which is the server's own. */
const SHARED = "RTC";

/** The path of a file on the server's own drive, null where it is on another. */
export function localPath({ app }: Site, path: string): string | null {
  const { contents } = app.serviceManager;
  const drive = contents.driveName(path);
  return drive === "" || drive === SHARED ? contents.localPath(path) : null;
}

export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

export function folderOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** The way from a folder to a file of the same drive. */
export function pathFrom(folder: string, path: string): string {
  const [from, to] = [folder.split("/").filter(Boolean), path.split("/").filter(Boolean)];
  let same = 0;
  while (same < from.length && same < to.length - 1 && from[same] === to[same]) same++;
  return [...from.slice(same).map(() => ".."), ...to.slice(same)].join("/");
}

/** A text as Python writes it: JSON's escapes are Python's too. */
export function pythonText(text: string): string {
  return JSON.stringify(text);
}

/**
 * A panel's code, which calls its network `net`, for the network of the cell that made the panel: what stands first in
 * `Lens(...)` there. Names inside of texts stay.
 */
export function codeFor(cell: string, code: string): string {
  const net = firstArgument(cell) ?? "net";
  return code.replace(/"(?:[^"\\]|\\.)*"|\bnet\b/g, (found) => (found === "net" ? net : found));
}

/** What stands first in the call of a Lens, null where there is none, or a keyword. */
function firstArgument(cell: string): string | null {
  const call = /\bLens\(/.exec(cell);
  if (!call) return null;
  const start = call.index + call[0].length;
  const part = /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[()[\]{},=]/g;
  part.lastIndex = start;
  let depth = 0;
  for (let found = part.exec(cell); found; found = part.exec(cell)) {
    const [sign] = found;
    if (depth === 0 && sign === "=") return null;
    if (depth === 0 && (sign === "," || sign === ")")) return cell.slice(start, found.index).trim() || null;
    if ("([{".includes(sign)) depth++;
    else if (")]}".includes(sign)) depth--;
  }
  return null;
}

/** A file with its bytes, whichever drive it is on. */
export async function bytesOf({ app, trans }: Site, path: string): Promise<File> {
  const model = await app.serviceManager.contents.get(path, { content: true, type: "file", format: "base64" });
  if (typeof model.content !== "string") throw new Error(trans.__("%1 has no content that can be read.", path));
  const text = atob(model.content);
  const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
  return new File([bytes], nameOf(path), { type: model.mimetype ?? "" });
}
