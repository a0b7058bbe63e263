/** The kernel lab as a widget of its own. */
import type { AnyModel } from "@anywidget/types";
import styles from "../../style/panel.css";
import type { Sliding } from "../shared/correlate";
import { el } from "../shared/dom";
import { Lab, planeOf, rowsOf } from "../shared/lab";
import { bytes, floats } from "../shared/protocol";

/** Draws the widget; gives back how to end that. */
export function renderLab(model: AnyModel, root: HTMLElement): () => void {
  const read = (): Sliding => ({
    kernel: planeOf(model.get("kernel")),
    stride: model.get("stride"),
    padding: model.get("padding"),
    rectified: model.get("rectified"),
  });
  const lab = new Lab(read(), bytes(model.get("_diverging")), (sliding) => {
    model.set("kernel", rowsOf(sliding.kernel));
    model.set("stride", sliding.stride);
    model.set("padding", sliding.padding);
    model.set("rectified", sliding.rectified);
    model.save_changes();
  });
  lab.offer(model.get("_filters"));
  const showPicture = () => {
    const { height, width, data } = model.get("_picture");
    lab.setPicture({ height, width, values: floats(data) });
  };
  showPicture();
  const label = { class: "nn-lens", role: "region", "aria-label": "kernel lab" };
  const panel = el("div", label, el("style", {}, styles), lab.root);
  panel.addEventListener("focusin", (event) =>
    (event.target as HTMLElement).setAttribute("data-lm-suppress-shortcuts", "true"),
  );
  root.append(panel);
  const take = () => lab.take(read());
  const events = ["kernel", "stride", "padding", "rectified"].map((name) => `change:${name}`);
  for (const event of events) model.on(event, take);
  model.on("change:_picture", showPicture);
  return () => {
    for (const event of events) model.off(event, take);
    model.off("change:_picture", showPicture);
    panel.remove();
  };
}
