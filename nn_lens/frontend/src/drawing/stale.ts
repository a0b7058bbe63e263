/** What is out of date until the new is there. */

/** Milliseconds until it is dimmed: most answers come sooner, and a card that dims and lights up costs them a frame. */
const DIM = 200;

const timers = new WeakMap<Element, number>();

/** Marks what an element shows as out of date, or as what it should be. */
export function markStale(element: Element, is: boolean): void {
  if (element.classList.contains("stale") === is) return;
  element.classList.toggle("stale", is);
  clearTimeout(timers.get(element));
  if (is)
    timers.set(
      element,
      window.setTimeout(() => element.classList.add("dim"), DIM),
    );
  else element.classList.remove("dim");
}
