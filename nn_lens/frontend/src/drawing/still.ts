/**
 * Pictures in image elements, for places that stay while what they show changes. The browser paints an image element with
 * what is around it; a canvas is a layer of its own to it, and thirty of them cost each frame some milliseconds.
 */
import { bytes } from "../panel/protocol";
import { el, text64 } from "./dom";

/** One clear pixel: an image element without a file would show its words. */
const CLEAR = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";

/** What each place shows. */
const shown = new WeakMap<HTMLImageElement, HTMLImageElement>();

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

/** The picture of a message's buffer, a PNG or JPEG file, once it is loaded. */
export function loaded(data: DataView): Promise<HTMLImageElement> {
  const file = bytes(data);
  const type = file[0] === 0xff ? "image/jpeg" : "image/png";
  return new Promise((done) => {
    const image = el("img", {});
    image.onload = image.onerror = () => done(image);
    // The address of a Blob would have to be asked of the browser, and waited for.
    image.src = `data:${type};base64,${text64(file)}`;
  });
}

/** Shows a loaded picture. */
export function show(place: HTMLImageElement, picture: HTMLImageElement): void {
  if (shown.get(place) === picture) return;
  shown.set(place, picture);
  place.src = picture.src; // found loaded, by its address
}

/** Shows nothing. */
export function clear(place: HTMLImageElement): void {
  if (shown.delete(place)) place.src = CLEAR;
}
