import assert from "node:assert/strict";
import { test } from "node:test";
import {
  fieldsOf,
  isKind,
  KINDS,
  keyOf,
  shownAt,
  type Subject,
  VIEWS,
  WHATS,
} from "../../nn_lens/frontend/src/panel/questions";
import { DECODERS, VIEW_CLASSES } from "../../nn_lens/frontend/src/views";

const subject: Subject = {
  picture: "picture 1",
  layer: { name: "conv", kind: "Conv2d", shape: [300, 128, 128], channels: 300, grid: [128, 128], filter: [3, 5, 5] },
  channel: 257,
  neuron: { row: 4, column: 9 },
  target: 2,
  factor: 0.5,
  unseen: () => [7, 1],
};

test("every kind of the table has a decoder, every view a class, and there are no others", () => {
  assert.deepEqual(Object.keys(DECODERS).sort(), [...WHATS].sort());
  assert.deepEqual(Object.keys(VIEW_CLASSES).sort(), Object.keys(VIEWS).sort());
  for (const what of WHATS) for (const view of KINDS[what].views) assert.ok(view in VIEWS, `${what} names ${view}`);
});

test("fields follow from what a question is about", () => {
  // 4 MB / (128 x 128) = 256 maps are a part; 25 filters of 75 bytes are one.
  assert.deepEqual(fieldsOf("maps", subject), { picture: "picture 1", layer: "conv", start: 256, count: 44 });
  assert.deepEqual(fieldsOf("filters", subject), { layer: "conv", start: 0, count: 300 });
  assert.deepEqual(fieldsOf("page", subject), {
    layer: "conv",
    channels: [252, 253, 254, 255, 256, 257, 258, 259, 260, 261, 262, 263],
  });
  assert.deepEqual(fieldsOf("arithmetic", subject), {
    picture: "picture 1",
    layer: "conv",
    channel: 257,
    row: 4,
    column: 9,
  });
  assert.deepEqual(fieldsOf("attribution", subject), { picture: "picture 1", target: 2 });
  assert.deepEqual(fieldsOf("attribution", { ...subject, target: null }), { picture: "picture 1", target: "conv:257" });
  const compared = { ...subject, rather: "#7" };
  assert.deepEqual(fieldsOf("attribution", compared), { picture: "picture 1", target: [2, "#7"] });
  assert.deepEqual(fieldsOf("attribution", { ...compared, target: null }), { picture: "picture 1", target: "conv:257" });
  const steered = { picture: "picture 1", layer: "conv", channel: 257, factor: 0.5 };
  assert.deepEqual(fieldsOf("ablation", subject), { ...steered, where: null });
  assert.deepEqual(fieldsOf("ablation", { ...subject, here: true }), { ...steered, where: [4, 9] });
  assert.deepEqual(fieldsOf("ablation", { ...subject, here: true, neuron: null }), { ...steered, where: null });
  assert.deepEqual(fieldsOf("mistakes", subject), {});
  assert.deepEqual(fieldsOf("here", subject), { layer: "conv", channels: [7, 1] });
});

test("where there is nothing to ask about, there is no question", () => {
  assert.equal(fieldsOf("maps", { ...subject, picture: null }), null);
  assert.equal(fieldsOf("arithmetic", { ...subject, neuron: null }), null);
  assert.equal(fieldsOf("here", { ...subject, unseen: () => [] }), null);
});

test("a key depends on the fields and on nothing else", () => {
  const fields = fieldsOf("attribution", subject) ?? {};
  const other = fieldsOf("attribution", { ...subject, channel: 3 }) ?? {};
  assert.equal(keyOf("attribution", fields), keyOf("attribution", other), "a class is not about the unit");
  assert.equal(keyOf("page", { channels: [0], layer: "a", step: 3 }), keyOf("page", { layer: "a", channels: [0] }));
  assert.notEqual(keyOf("page", { layer: "a", channels: [0] }), keyOf("page", { layer: "a", channels: [0, 1] }));
  assert.ok(isKind("maps") && !isKind("done"));
});

test("a panel of views that share no tab but one opens at that", () => {
  assert.deepEqual(shownAt("all", ["picture", "attribution"]), ["picture"]);
  assert.deepEqual(shownAt("evidence", ["picture", "attribution"]), ["picture", "attribution"]);
  assert.deepEqual(shownAt("all", ["examples"]), ["examples"], "an only view is always shown");
});
