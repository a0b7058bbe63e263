/**
 * Pictures of a sheet in image elements, for places that stay while the sheets change. The browser paints an image element
 * with what is around it; a canvas is a layer of its own to it, and thirty of them cost each frame some milliseconds.
 */
import { el } from "./dom";
import { drawFrom } from "./sheet";

/** One clear pixel: an image element without a file would show its words. */
const CLEAR = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/** Each picture of a sheet, as far as they were shown. */
const pictures = new WeakMap<ImageBitmap, HTMLImageElement[]>();

export type Picture = HTMLCanvasElement | HTMLImageElement;

/** A picture's own pixels: [width, height]. */
export function sizeOf(picture: Picture): [number, number] {
  return picture instanceof HTMLImageElement
    ? [picture.naturalWidth, picture.naturalHeight]
    : [picture.width, picture.height];
}

/** A place without a picture. */
export function still(attributes: Record<string, string | boolean> = {}): HTMLImageElement {
  return el("img", { src: CLEAR, alt: "", draggable: "false", decoding: "sync", ...attributes });
}

/** Makes the pictures of a sheet ready, so that the frame that shows them has less to do. */
export function prepare(sheet: ImageBitmap | null, count: number): void {
  if (sheet) for (let index = 0; index < count; index++) pictureOf(sheet, index, count);
}

/** Shows picture `index` of `count` of a sheet; until it is loaded, some milliseconds, what was there before. */
export function show(image: HTMLImageElement, sheet: ImageBitmap, index: number, count: number): void {
  const { src } = pictureOf(sheet, index, count);
  if (image.src !== src) image.src = src;
}

/** Shows nothing. */
export function clear(image: HTMLImageElement): void {
  if (image.src !== CLEAR) image.src = CLEAR;
}

let scratch: HTMLCanvasElement | null = null;

/** A picture in an image element of its own, by whose address others find it loaded. */
function pictureOf(sheet: ImageBitmap, index: number, count: number): HTMLImageElement {
  const known = pictures.get(sheet) ?? [];
  pictures.set(sheet, known);
  if (!known[index]) {
    scratch ??= el("canvas");
    drawFrom(scratch, sheet, index, count);
    known[index] = el("img", { src: scratch.toDataURL() });
  }
  return known[index];
}
