import assert from "node:assert/strict";
import { test } from "node:test";
import { boxOf, cellAt, type Field, middleOf, neuronAt } from "../../nn_lens/frontend/src/panel/geometry";

const field: Field = { size: [6, 8], stride: [2, 4], offset: [-2, 0] };
const frame = { grid: [10, 12] as [number, number], input: [3, 20, 48], field };

test("a neuron's middle is that of its box, and leads back to it", () => {
  // Row 3: -2 + 3 * 2 + 6 / 2 = 7 of 20 pixels; column 5: 5 * 4 + 8 / 2 = 24 of 48.
  assert.deepEqual(middleOf({ row: 3, column: 5 }, frame), { y: 7 / 20, x: 0.5 });
  for (let row = 0; row < 10; row++)
    for (let column = 0; column < 12; column++)
      assert.deepEqual(neuronAt(middleOf({ row, column }, frame), frame), { row, column });
});

test("a box is cut at the picture's border", () => {
  assert.deepEqual(boxOf({ row: 0, column: 11 }, frame, field), [0, 44 / 48, 4 / 20, 1]);
});

test("without a field the map is laid over the picture", () => {
  const unknown = { grid: [4, 6] as [number, number], input: [3, 20, 48] };
  assert.deepEqual(neuronAt({ y: 0.99, x: 0 }, unknown), { row: 3, column: 0 });
  assert.deepEqual(middleOf({ row: 0, column: 5 }, unknown), { y: 0.125, x: 5.5 / 6 });
  assert.deepEqual(cellAt({ y: 1, x: 0.5 }, 4, 6), { row: 3, column: 3 });
});

test("a layer that sees the whole input has one neuron for every place", () => {
  const whole = {
    grid: [1, 1] as [number, number],
    input: [3, 20, 48],
    field: { size: [20, 48], stride: [0, 0], offset: [0, 0] } as Field,
  };
  assert.deepEqual(neuronAt({ y: 0.9, x: 0.1 }, whole), { row: 0, column: 0 });
});

test("boxes that go on unevenly are those of each neuron", () => {
  // Behind an upsampling by 2 of a 3x3 convolution with stride 2: two neurons see the same.
  const rows: [number, number][] = [0, 0, 1, 1].map((i) => [Math.max(0, 2 * i - 1), 2 * i + 2]);
  const uneven = {
    grid: [4, 12] as [number, number],
    input: [3, 4, 48],
    field: { size: [3, 8], stride: [1, 4], offset: [-1, 0], each: [rows, null] } as Field,
  };
  const box = (row: number) => boxOf({ row, column: 1 }, uneven, uneven.field);
  assert.deepEqual(box(1), [0, 4 / 48, 2 / 4, 12 / 48]);
  assert.deepEqual(box(2), [1 / 4, 4 / 48, 1, 12 / 48]);
  assert.equal(neuronAt({ y: 0.6, x: 0 }, uneven).row, 2);
  assert.equal(neuronAt({ y: 0.1, x: 0 }, uneven).row, 0);
});
