/** Pictures from outside: a file that is chosen, dropped or pasted. */
import type { Store } from "./store";

/** Files up to this many bytes go to the kernel as they are; larger ones are made smaller here first. */
const AS_IT_IS = 4 << 20;
const SIDE = 1600;

/** Takes the first picture of a drop or paste, or says why there is none. */
export function takeFrom(transfer: DataTransfer | null, store: Store): void {
  const file = [...(transfer?.files ?? [])][0];
  if (file) void take(file, store);
  else store.failedUpload("That was no picture file. Drop or paste a picture, such as a JPEG or PNG file.");
}

export async function take(file: File, store: Store): Promise<void> {
  try {
    const small = file.size <= AS_IT_IS ? file : await smaller(file);
    store.upload(file.name, new Uint8Array(await small.arrayBuffer()));
  } catch (error) {
    store.failedUpload(`${file.name} could not be read: ${error instanceof Error ? error.message : error}`);
  }
}

/** A large picture at a size that travels; what the browser cannot read goes as it is, for Python to try. */
async function smaller(file: File): Promise<Blob> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    return file;
  }
  const scale = Math.min(1, SIDE / Math.min(bitmap.width, bitmap.height));
  const canvas = new OffscreenCanvas(Math.round(bitmap.width * scale), Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d");
  if (!context) return file;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
}
