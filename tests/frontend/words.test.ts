import assert from "node:assert/strict";
import { test } from "node:test";
import { brief } from "../../nn_lens/frontend/src/drawing/dom";
import { phrase } from "../../nn_lens/frontend/src/panel/words";

test("one is one, and more are many", () => {
  const values = { rest: "", colours: "" };
  assert.match(phrase("blocks.note", { ...values, count: 1 }), /^1 unit is strongest at some place;/);
  assert.match(phrase("blocks.note", { ...values, count: 12 }), /^12 units are strongest at some place;/);
  assert.equal(phrase("mistakes.soFar", { count: "1" }), "1 picture so far.");
});

test("texts about pictures are about what a network reads; what is put into them stays as it is", () => {
  assert.equal(phrase("mistakes.soFar", { count: 2 }, "signal"), "2 signals so far.");
  assert.equal(phrase("picture.map", { unit: "image.conv:3" }, "volume"), "Activation map of image.conv:3 on the volume");
  assert.equal(phrase("picture.alt", { name: "{name}" }), "The picture: {name}");
});

test("a number of a narrow tile has a digit less where it is long", () => {
  const told = [-0.00974, 0.0974, -0.0974, 1.234, -123456, 0.00001].map(brief);
  assert.deepEqual(told, ["-0.0097", "0.0974", "-0.097", "1.23", "-1.2e+5", "1.0e-5"]);
});
