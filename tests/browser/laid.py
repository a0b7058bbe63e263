"""What stands in the way of reading a panel as it is laid out: read off the page, for tests and for the walks."""

from __future__ import annotations

from typing import Any

FAULTS = """() => {
  const root = document.querySelector('.nn-lens');
  const found = [];
  const say = (e) => `${e.tagName.toLowerCase()}.${[...e.classList].join('.')} in ${e.closest('.card')?.classList[1] ?? 'controls'}`;
  if (document.documentElement.scrollWidth > window.innerWidth) found.push('the page scrolls sideways');
  const whole = root.getBoundingClientRect();
  const tabs = root.querySelector('.switch');
  const row = tabs && getComputedStyle(tabs).overflowX !== 'visible' ? tabs : null; // in a narrow column it scrolls
  const scrolls = (e) => e.closest('.stops, .list, .popup, .grid, .help') || (e !== row && row?.contains(e));
  for (const e of root.querySelectorAll('*')) {
    const style = getComputedStyle(e);
    if (!e.checkVisibility({ visibilityProperty: true }) || e.closest('.places, .large, .sees, .mark, svg')) continue;
    const box = e.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const card = e.closest('.card')?.getBoundingClientRect() ?? whole;
    if (!scrolls(e) && !e.matches('.card, .letgo') && (box.right > card.right + 1 || box.left < card.left - 1))
      found.push(`${say(e)} sticks out by ${Math.round(Math.max(box.right - card.right, card.left - box.left))} px`);
    const text = [...e.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join('');
    if (!text || style.overflowX === 'visible' || e.scrollWidth <= e.clientWidth + 1) continue;
    // A name may be cut if the whole is there on hover; a number never.
    if (!e.closest('[title]') || e.matches('.much, output')) found.push(`${say(e)} cuts "${text}"`);
  }
  for (const e of root.querySelectorAll('input[type=number]'))
    if (e.checkVisibility() && e.scrollWidth > e.clientWidth + 1) found.push(`${say(e)} cuts "${e.value}"`);
  // Of what may stand in too narrow a box: numbers, and the number at the end of a unit's name.
  for (const e of root.querySelectorAll('.much, output, .who')) {
    const end = e.matches('.who') ? [...e.childNodes].filter((n) => n.nodeType === 3 && /:\\d+$/.test(n.data)).pop() : e;
    if (!end || !e.checkVisibility({ visibilityProperty: true }) || !e.textContent) continue;
    const range = document.createRange();
    range.selectNodeContents(end);
    const room = e.closest('.tile')?.getBoundingClientRect() ?? e.getBoundingClientRect();
    if (range.getBoundingClientRect().right > room.right + 1) found.push(`${say(e)} has no room for "${e.textContent}"`);
  }
  for (const e of root.querySelectorAll('.feeding, .ranked, .wrong')) {
    const widths = [...e.children].filter((tile) => tile.checkVisibility()).map((tile) => Math.round(tile.getBoundingClientRect().width));
    if (Math.max(...widths) - Math.min(...widths) > 1) found.push(`${say(e)} has tiles of widths ${widths}`);
  }
  for (const e of root.querySelectorAll('.much, output, .note, .words')) {
    if (!e.checkVisibility({ visibilityProperty: true }) || !e.textContent) continue;
    for (let at = e.parentElement; at && at !== root; at = at.parentElement) {
      if (scrolls(at) || getComputedStyle(at).overflowX === 'visible') continue;
      const [box, edge] = [e.getBoundingClientRect(), at.getBoundingClientRect()];
      if (box.right > edge.right + 1) found.push(`${say(at)} cuts "${e.textContent}"`);
    }
  }
  return [...new Set(found)];
}"""

HOVERED = """(selector) => {
  const root = document.querySelector('.nn-lens');
  const target = root.querySelector(selector);
  target.scrollIntoView({ block: 'nearest' });
  const inside = (e) => { const box = e.getBoundingClientRect(); return box.top >= -1 && box.bottom <= window.innerHeight + 1; };
  const tiles = [...root.querySelectorAll('.here .ranked .tile')].filter((e) => e.checkVisibility());
  return { target: inside(target), ranking: tiles.slice(0, 4).every(inside), controls: inside(root.querySelector('.controls')) };
}"""


def faults_of(panel: Any) -> list[str]:
    """What sticks out of its card or the page, and texts that are cut: names without the whole on hover, numbers ever."""
    return panel.page.evaluate(FAULTS)


def hides_ranking(panel: Any, selector: str = ".picture-card .frame") -> list[str]:
    """What is out of sight, of what one needs while moving over a picture: it, the ranking of units there, the controls."""
    seen = panel.page.evaluate(HOVERED, selector)
    return [name for name, is_ in seen.items() if not is_]
