/** Frames of the camera as the panel's picture: the next is taken when the maps of the last are drawn, so that none pile up. */
import type { Store } from "./store";
import { phrase } from "./words";

const SIDE = 256;
/** Milliseconds between frames at least, and after which what the last was to bring is waited for no more. */
const [PACE, LOST] = [100, 2000];

export class Camera {
  private readonly video = document.createElement("video");
  private stream: MediaStream | null = null;
  private timer = 0;
  private sent = "";
  private sentAt = 0;

  constructor(private readonly store: Store) {
    this.video.muted = true;
    this.video.playsInline = true;
  }

  get on(): boolean {
    return this.stream !== null;
  }

  /** Asks the browser for the camera, and begins; what stands in the way is said where uploads fail. */
  async start(): Promise<void> {
    try {
      if (!navigator.mediaDevices) throw new Error(phrase("camera.insecure"));
      this.stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 } });
      this.video.srcObject = this.stream;
      await this.video.play();
      this.next();
    } catch (error) {
      this.fail(error);
    }
    this.store.changed();
  }

  stop(): void {
    clearTimeout(this.timer);
    for (const track of this.stream?.getTracks() ?? []) track.stop();
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
    if (!this.on) return;
    try {
      if (this.video.videoWidth && !this.waits()) await this.send();
      if (this.on) this.next();
    } catch (error) {
      this.fail(error);
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
    const key = store.picture?.key ?? "";
    const scale = SIDE / Math.min(video.videoWidth, video.videoHeight);
    const canvas = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
    canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
    const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.85 });
    const data = new Uint8Array(await blob.arrayBuffer());
    if (!this.on) return;
    [this.sent, this.sentAt] = [key, performance.now()];
    store.pictures.upload(phrase("camera"), data);
  }
}
