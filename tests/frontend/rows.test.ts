import assert from "node:assert/strict";
import { test } from "node:test";
import { drawnSize, isRow, paintBars } from "../../nn_lens/frontend/src/drawing/bars";
import { between, paint, type Stack } from "../../nn_lens/frontend/src/drawing/tiles";
import { neuronAt, middleOf } from "../../nn_lens/frontend/src/panel/geometry";
import { placeInWords, reworded, shapeOf } from "../../nn_lens/frontend/src/panel/words";
import { frame, opened, page, traits } from "./fake";

page();

/** The grey or colour of each pixel of a column, as a letter: paper, line, above, below. */
function column(out: Uint8ClampedArray, width: number, x: number): string {
  const height = out.length / 4 / width;
  const names: Record<number, string> = { 247: ".", 176: "-", 214: "a", 47: "b" };
  return Array.from({ length: height }, (_, y) => names[out[4 * (y * width + x)]]).join("");
}

function stack(changes: Partial<Stack>): Stack {
  return {
    layer: "conv", start: 0, count: 1, total: 1, planes: 1, height: 1, width: 4, colour: "diverging", weights: 1,
    levels: Uint8Array.of(255, 128, 1, 192), ranges: Float32Array.of((-2 * 128) / 127, 2), largest: new Float32Array(1),
    mean: new Float32Array(1), active: new Float32Array(1), where: new Float32Array(3), ...changes,
  };
}

test("a row is drawn as a chart, all else at its own size", () => {
  assert.deepEqual(drawnSize({ height: 1, width: 5 }), { height: 40, width: 160 });
  assert.deepEqual(drawnSize({ height: 1, width: 7 }), { height: 40, width: 154 });
  assert.deepEqual(drawnSize({ height: 1, width: 9000 }), { height: 40, width: 160 });
  assert.deepEqual(drawnSize({ height: 3, width: 5 }), { height: 3, width: 5 });
  assert.deepEqual(drawnSize({ height: 1, width: 1 }), { height: 1, width: 1 });
  assert.ok(isRow({ height: 1, width: 2 }));
});

test("bars go from the line at zero to their value", () => {
  const size = { height: 7, width: 4 };
  const out = new Uint8ClampedArray(4 * 7 * 4);
  const values = [3, -1, 0, 9];
  paintBars((i) => values[i], 4, 3, true, size, out);
  assert.deepEqual([0, 1, 2, 3].map((x) => column(out, 4, x)), ["aaa-...", "...-b..", "...-...", "aaa-..."]);
  paintBars((i) => values[i], 4, 3, false, size, out);
  assert.deepEqual([0, 2].map((x) => column(out, 4, x)), ["aaaaaa-", "......-"], "without values below 0 the line is at the bottom");
});

test("of many values in one pixel none is lost", () => {
  const out = new Uint8ClampedArray(4 * 5 * 2);
  const values = [0, 0, 2, 0, 0, -2, 0, 0];
  paintBars((i) => values[i], 8, 2, true, { height: 5, width: 2 }, out);
  assert.deepEqual([0, 1].map((x) => column(out, 2, x)), ["aa-..", "..-bb"]);
});

test("a map of one row is painted as bars, by the scale that is chosen", () => {
  const size = { height: 5, width: 4 };
  const out = new Uint8ClampedArray(4 * 5 * 4);
  paint(stack({}), 0, 0, {}, out, undefined, size);
  assert.deepEqual([0, 1, 2, 3].map((x) => column(out, 4, x)), ["aa-..", "..-..", "..-bb", ".a-.."]);
  paint(stack({}), 0, 0, {}, out, 4, size);
  assert.deepEqual([0, 2].map((x) => column(out, 4, x)), [".a-..", "..-b."]);
});

test("between slices there is nothing", () => {
  const slices = stack({ height: 2, width: 5, slices: 2, levels: new Uint8Array(10).fill(128) });
  assert.deepEqual([0, 1, 2, 3, 4].map((c) => between(slices, c)), [false, false, true, false, false]);
  const out = new Uint8ClampedArray(4 * 10);
  paint(slices, 0, 0, { diverging: new Uint8Array(768) }, out);
  assert.deepEqual([...out].filter((_, i) => i % 4 === 3), [255, 255, 0, 255, 255, 255, 255, 0, 255, 255]);
});

test("along an axis that neurons see as a whole they stand where they stand among their own", () => {
  const recurrent = {
    grid: [1, 20] as [number, number],
    input: [5, 1, 20],
    field: { size: [1, 20] as [number, number], stride: [0, 0] as [number, number], offset: [0, 0] as [number, number] },
  };
  for (let column = 0; column < 20; column++)
    assert.deepEqual(neuronAt(middleOf({ row: 0, column }, recurrent), recurrent), { row: 0, column });
});

test("each kind of input has its own words", () => {
  assert.equal(reworded("A picture, an image and two Images of 3 pixels", "picture"), "A picture, an image and two Images of 3 pixels");
  assert.equal(reworded("A picture, an image and two Images of 3 pixels", "signal"), "A signal, a signal and two Signals of 3 places");
  assert.equal(reworded("a picture of pictures", "vector"), "an input of inputs");
  assert.equal(shapeOf({ shape: [7] } as never), "(7,)");
  const layer = { places: [8, 4, 6] };
  assert.equal(placeInWords([2, 3, 5], layer, "volume"), "slice 2, row 3, column 5");
  assert.equal(placeInWords([5], { places: [9] }, "signal"), "place 5");
  assert.equal(placeInWords([0, 0], { places: [1, 1] }, "sequence"), "the whole sequence");
});

test("a place of a volume has the slice that is seen, and another slice is told to Python", async () => {
  const volume = traits() as { _network: { kind: string; depth: number; layers: { places: number[] }[] } };
  volume._network.kind = "volume";
  volume._network.depth = 16;
  for (const layer of volume._network.layers) layer.places = [8, ...layer.places];
  const { model, store } = opened({ ...volume, slice: 0.3 });
  store.sight.lockAt({ row: 3, column: 5 });
  assert.deepEqual(store.sight.placeOf({ row: 3, column: 5 }), [2, 3, 5]);
  assert.match(store.code(), /unit="conv:3@2,3,5"/);
  store.look.slice = 0.9;
  assert.equal(model.get("slice"), 0.9);
  assert.match(store.code(), /@7,3,5"/);
  await frame();
  store.close();
});
