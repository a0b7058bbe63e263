/** Which picture is looked at, or what else a network reads: a sample, one of the dataset, or a file that is chosen, dropped or pasted. */
import { type InputKind, phrase } from "./words";

/** Files up to this many bytes go to the kernel as they are; larger ones are made smaller here first. */
const AS_IT_IS = 4 << 20;
/** Pixels of the shorter side of a picture that is made smaller. */
const SIDE = 1600;
/** Bytes of a piece: larger messages may be dropped on the way without a word. */
const PIECE = 512 << 10;

export class Pictures {
  /** Why the last picture could not be taken, "" if it could. */
  error = "";
  private uploads = 0;

  /** `kind`: what the network reads. `send` takes a message to Python, which is to know of the selection by then; `changed` is called where `error` may be another. */
  constructor(
    private readonly kind: InputKind,
    private readonly send: (content: object, buffers?: ArrayBuffer[]) => void,
    private readonly changed: () => void,
  ) {}

  chooseSample(name: string): void {
    this.send({ type: "sample", name });
  }

  /** Takes a picture of the dataset, by its number. */
  chooseFromDataset(index: number): void {
    this.send({ type: "dataset", index });
  }

  /** Takes the first picture of a drop or paste, or says why there is none. */
  takeFrom(transfer: DataTransfer | null): void {
    const file = [...(transfer?.files ?? [])][0];
    if (file) void this.take(file);
    else if (this.kind === "picture") this.refuse(phrase("upload.none"));
    else this.refuse(phrase("upload.noneOfOthers", {}, this.kind));
  }

  async take(file: File): Promise<void> {
    try {
      const small = file.size <= AS_IT_IS || this.kind !== "picture" ? file : await smaller(file);
      this.upload(file.name, new Uint8Array(await small.arrayBuffer()));
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.refuse(phrase("upload.unread", { name: file.name, why }));
    }
  }

  /** Sends a picture file in pieces; its name is shown with it. */
  upload(name: string, data: Uint8Array): void {
    const upload = ++this.uploads;
    const count = Math.max(1, Math.ceil(data.length / PIECE));
    this.error = "";
    for (let index = 0; index < count; index++) {
      const piece = data.slice(index * PIECE, (index + 1) * PIECE);
      this.send({ type: "upload", upload, index, count, name }, [piece.buffer]);
    }
    this.changed();
  }

  refuse(why: string): void {
    this.error = why;
    this.changed();
  }

  /** A picture has been taken. */
  taken(): void {
    this.error = "";
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
