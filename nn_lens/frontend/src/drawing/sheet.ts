/** Pictures that come side by side in one bitmap. */
import { bytes } from "../panel/protocol";

/** The picture of a message's buffer, null for an empty one. */
export async function bitmap(data: DataView | undefined): Promise<ImageBitmap | null> {
  return data?.byteLength ? createImageBitmap(new Blob([bytes(data) as BlobPart])) : null;
}

/** Draws picture `index` of `count` of a sheet into a canvas, which takes its size. */
export function drawFrom(canvas: HTMLCanvasElement, sheet: ImageBitmap, index: number, count: number): void {
  const width = sheet.width / count;
  if (canvas.width !== width || canvas.height !== sheet.height) {
    canvas.width = width;
    canvas.height = sheet.height;
  }
  canvas.getContext("2d")?.drawImage(sheet, index * width, 0, width, sheet.height, 0, 0, width, sheet.height);
}

/** Draws a picture file into a canvas, which takes its size. */
export async function drawPicture(canvas: HTMLCanvasElement, data: DataView): Promise<void> {
  const image = await bitmap(data);
  if (!image) return;
  drawFrom(canvas, image, 0, 1);
  image.close();
}
