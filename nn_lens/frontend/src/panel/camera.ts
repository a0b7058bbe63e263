/** Frames of the camera as the panel's picture: the next is taken when the maps of the last are drawn, so that none pile up. */
import type { Store } from "./store";
import { phrase } from "./words";

const SIDE = 256;
/** Milliseconds between frames at least, and after which what the last was to bring is waited for no more. */
const [PACE, LOST] = [100, 2000];
/** Milliseconds until a camera that the browser gave, but that shows nothing, is given back. */
const DARK = 15_000;

export class Camera {
  private readonly video = document.createElement("video");
  private stream: MediaStream | null = null;
  /** Whether someone asked for it, also while the browser still asks whether it may. */
  private wanted = false;
  /** Counts the starts: what comes of an earlier one is given back. */
  private starts = 0;
  private timer = 0;
  private startedAt = 0;
  private sent = "";
  private sentAt = 0;

  constructor(private readonly store: Store) {
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get on(): boolean {
    return this.wanted;
  }

  /** Asks the browser for the camera, and begins; what stands in the way is said where uploads fail. */
  async start(): Promise<void> {
    const start = ++this.starts;
    this.wanted = true;
    this.store.changed();
    try {
      if (!navigator.mediaDevices) throw new Error(phrase("camera.insecure"));
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
      if (start !== this.starts) return release(stream);
      this.stream = stream;
      this.video.srcObject = stream;
      this.video.play().catch((error) => start === this.starts && this.fail(error));
      this.startedAt = performance.now();
      this.next();
    } catch (error) {
      if (start === this.starts) this.fail(error);
    }
  }

  stop(): void {
    this.starts++;
    this.wanted = false;
    clearTimeout(this.timer);
    release(this.stream);
    this.stream = null;
    this.video.srcObject = null;
    this.sent = "";
    this.store.changed();
  }

  private fail(error: unknown): void {
    this.stop();
    this.store.pictures.refuse(phrase("camera.refused", { why: (error as Error).message }));
  }

  private next(): void {
    this.timer = window.setTimeout(() => void this.frame(), PACE);
  }

  private async frame(): Promise<void> {
    const start = this.starts;
    try {
      if (!this.video.videoWidth && performance.now() - this.startedAt > DARK)
        throw new Error(phrase("camera.dark", { seconds: DARK / 1000 }));
      if (this.video.videoWidth && !this.waits()) await this.send();
      if (start === this.starts) this.next();
    } catch (error) {
      if (start === this.starts) this.fail(error);
    }
  }

  /** Whether the last frame has not come back as the picture, or its maps are on their way. */
  private waits(): boolean {
    const { store } = this;
    if (performance.now() - this.sentAt > LOST) return false;
    const here = this.sent === "" || this.sent !== store.picture?.key;
    return !here || (store.views.includes("activations") && !store.answer("maps"));
  }

  private async send(): Promise<void> {
    const { store, video } = this;
    const [start, key] = [this.starts, store.picture?.key ?? ""];
    const scale = SIDE / Math.min(video.videoWidth, video.videoHeight);
    const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
    canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    const data = new Uint8Array(await blob.arrayBuffer());
    if (start !== this.starts) return;
    [this.sent, this.sentAt] = [key, performance.now()];
    store.pictures.upload(phrase("camera"), data);
  }
}

function release(stream: MediaStream | null): void {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
