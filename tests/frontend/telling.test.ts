import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Telling } from "../../nn_lens/frontend/src/panel/telling";
import { opened, page, settle } from "./fake";

before(page);

/** A panel's node in a page, and what it told of itself. */
class Root extends EventTarget {
  isConnected = true;
  readonly told: [string, unknown][] = [];

  override dispatchEvent(event: Event): boolean {
    const fine = super.dispatchEvent(event);
    if (event.bubbles) this.told.push([event.type.replace("nn-lens:", ""), (event as CustomEvent).detail]);
    return fine;
  }

  ask(name: string, detail: object = {}): void {
    this.dispatchEvent(new CustomEvent(`nn-lens:${name}`, { detail }));
  }

  of(name: string): unknown[] {
    return this.told.filter(([each]) => each === name).map(([, detail]) => detail);
  }
}

function shown() {
  const root = new Root();
  const { model, store } = opened();
  return { root, model, store, telling: new Telling(store, root as unknown as HTMLElement) };
}

test("a panel tells of a unit once, and only where it can be heard", () => {
  const { root, store, telling } = shown();
  root.isConnected = false;
  telling.drawn();
  assert.deepEqual(root.of("selected"), []);
  root.isConnected = true;
  telling.drawn();
  telling.drawn();
  assert.deepEqual(root.of("selected"), [{ model: "140", unit: `${store.layer.name}:${store.selection.channel}` }]);
  telling.close();
  assert.equal(root.of("closed").length, 1);
});

test("a host selects a unit; what is no layer changes nothing", () => {
  const { root, store, telling } = shown();
  root.ask("select", { unit: "deep:5" });
  assert.deepEqual([store.selection.layer, store.selection.channel], ["deep", 5]);
  root.ask("select", { unit: "no:such:layer:2" });
  root.ask("select", { unit: "deep" });
  assert.deepEqual([store.selection.layer, store.selection.channel], ["deep", 5]);
  root.ask("code");
  assert.deepEqual(root.of("insert"), [{ code: store.code() }]);
  assert.ok(store.code().includes('unit="deep:5"'));
  telling.close();
});

test("work that lasts is told of, and ends when a host says so", async () => {
  const { root, model, store, telling } = shown();
  await settle();
  assert.ok(model.wants("page").length, "images are asked for");
  telling.drawn();
  assert.deepEqual(root.of("working"), [], "most is over before it need be told of");
  await new Promise((done) => setTimeout(done, 500));
  const [first] = root.of("working") as { what: string; share: number | null }[];
  assert.equal(first.what, "Maximizing images");
  assert.equal(first.share, null);
  root.ask("stop");
  assert.ok(store.asking.isStopped("page"));
  assert.equal(store.conversation.busy, false);
  await new Promise((done) => setTimeout(done, 500));
  assert.equal((root.of("working").at(-1) as { what: string }).what, "");
  telling.close();
});
