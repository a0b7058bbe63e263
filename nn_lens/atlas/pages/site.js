/* The pages of an atlas: the list of layers, and a layer's units. Data comes by script elements, which a page on a disk may load. */
"use strict";
var nnLensAtlas = (() => {
  const page = document.getElementById("page");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  let about = null;
  let layer = null;
  const told = new Map(); // by page of units, what was told of them
  const wanted = new Set();

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  const isPictured = (of, channel) => of.pictured === "all" || of.pictured.includes(channel);
  const address = (of, channel) => `${encodeURIComponent(of.slug)}.html${channel === undefined ? "" : `#${channel}`}`;
  const labelOf = (of, channel) => {
    const last = about.layers[about.layers.length - 1];
    return of === last && about.labels.length === of.channels ? about.labels[channel] : "";
  };

  // ---- pictures that come when they are near ----

  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        near.unobserve(target);
        target.style.backgroundImage = `url("${target.dataset.sheet}")`;
      }
    },
    { rootMargin: "200px" },
  );

  // ---- the list of layers ----

  function drawIndex() {
    const { layers, name, said, dataset, missing } = about;
    page.append(
      element("h1", {}, `Atlas of ${name}`),
      element("p", {}, [`${said}.`, dataset && `Examples of ${dataset}.`].filter(Boolean).join(" ")),
    );
    if (missing.length) {
      const list = element("details", {}, element("summary", {}, `${missing.length} missing`));
      list.append(...missing.slice(0, 200).map((text) => element("p", {}, text)));
      page.append(list);
    }
    const list = element("ul", { class: "layers" });
    for (const one of layers) {
      const size = one.grid.join("x");
      const small = `${one.kind}, ${one.channels} units of ${size}${one.field ? `, each sees ${one.field}` : ""}`;
      const link = element(
        "a",
        { href: address(one) },
        element("span", {}, element("b", {}, one.name), element("small", {}, small)),
      );
      const shown = one.pictured === "all" ? one.channels : one.pictured.length;
      if (shown) {
        const strip = element("span", { class: "preview", "aria-hidden": "true" });
        strip.dataset.sheet = `${encodeURIComponent(one.slug)}/preview.jpg`;
        const width = 58 * Math.min(shown, about.preview);
        Object.assign(strip.style, { width: `${width}px`, backgroundSize: `${width}px 58px` });
        link.append(strip);
        near.observe(strip);
      }
      list.append(element("li", {}, link));
    }
    page.append(list);
  }

  // ---- a layer ----

  function drawLayer() {
    const { name, kind, channels, grid, field } = layer;
    const at = about.layers.indexOf(layer);
    const beside = [about.layers[at - 1], about.layers[at + 1]];
    const ways = element(
      "p",
      {},
      `${kind}, ${channels} units of ${grid.join("x")}${field ? `, each sees ${field} of ${about.input.join("x")}` : ""}. `,
    );
    beside.forEach((one, i) => {
      if (one)
        ways.append(
          element("a", { href: address(one), rel: i ? "next" : "prev" }, `${i ? "next" : "before"}: ${one.name}`),
          " ",
        );
    });
    const tiles = element("ul", { class: "tiles" });
    for (let channel = 0; channel < channels; channel++) tiles.append(element("li", {}, tile(channel)));
    page.append(element("h1", {}, name), ways, tiles);
    tiles.append(element("li", { id: "unit", "aria-live": "polite" }));
    addEventListener("hashchange", show);
    addEventListener("resize", () => selected() !== null && place(selected()));
    show();
  }

  function tile(channel) {
    const label = labelOf(layer, channel);
    const link = element("a", {
      class: "tile",
      href: `#${channel}`,
      id: `tile-${channel}`,
      "aria-label": `${layer.name}:${channel}${label && `, ${label}`}`,
    });
    const picture = element("i");
    if (isPictured(layer, channel)) {
      const start = channel - (channel % about.page);
      const count = Math.min(about.page, layer.channels - start);
      const rows = Math.ceil(count / about.columns);
      const [column, row] = [(channel - start) % about.columns, Math.floor((channel - start) / about.columns)];
      const place = (n, of) => (of > 1 ? (100 * n) / (of - 1) : 0);
      picture.dataset.sheet = `${encodeURIComponent(layer.slug)}/sheet-${start}.jpg`;
      const across = about.columns;
      picture.style.backgroundSize = `${100 * across}% ${100 * rows}%`;
      picture.style.backgroundPosition = `${place(column, across)}% ${place(row, rows)}%`;
      near.observe(picture);
    }
    link.append(picture, label ? `${channel} ${label}` : `${channel}`);
    return link;
  }

  const selected = () => {
    const channel = location.hash === "" ? NaN : Number(location.hash.slice(1));
    return Number.isInteger(channel) && channel >= 0 && channel < layer.channels ? channel : null;
  };

  function show() {
    const channel = selected();
    const card = document.getElementById("unit");
    for (const other of document.querySelectorAll('.tile[aria-current="true"]')) other.removeAttribute("aria-current");
    card.classList.toggle("shown", channel !== null);
    document.title = `${layer.name}${channel === null ? "" : `:${channel}`} of ${about.name}`;
    if (channel === null) return;
    document.getElementById(`tile-${channel}`).setAttribute("aria-current", "true");
    place(channel);
    const start = channel - (channel % about.page);
    if (!told.has(start)) {
      if (!wanted.has(start))
        document.head.append(element("script", { src: `${encodeURIComponent(layer.slug)}/units-${start}.js` }));
      wanted.add(start);
      return;
    }
    card.replaceChildren(...cardOf(channel, told.get(start)[channel - start]));
    card.scrollIntoView({ block: "nearest" });
  }

  /** Puts the card below the row of a unit's tile. */
  function place(channel) {
    const card = document.getElementById("unit");
    const [count, all] = [across(), tilesOf()];
    const next = all[(Math.floor(channel / count) + 1) * count] ?? null;
    if (card.nextElementSibling !== next) card.parentElement.insertBefore(card, next);
  }

  const tilesOf = () => [...document.querySelectorAll(".tiles > li:not(#unit)")];

  function cardOf(channel, said) {
    const label = labelOf(layer, channel);
    const title = element("h2", {}, element("span", {}, `${layer.name}:${channel}${label && ` ${label}`}`));
    const close = element("button", { type: "button", "aria-label": "Close" }, "\u00d7");
    close.onclick = leave;
    title.append(close);
    const parts = element("div", { class: "parts" });
    const folder = encodeURIComponent(layer.slug);
    if (said.image) {
      const [most, least, note, size] = said.image;
      const pair = element("div", {}, element("h3", {}, "What it wants most, and least"));
      const [height, width] = size;
      [most, least].forEach((value, i) => {
        const name = `The picture that ${layer.name}:${channel} wants ${i ? "least" : "most"}`;
        const half = element("span", { class: "half", role: "img", "aria-label": name });
        half.style.backgroundImage = `url("${folder}/unit-${channel}.jpg")`;
        half.style.backgroundPosition = `${100 * i}% 0`;
        half.style.aspectRatio = `${width} / ${height}`;
        pair.append(element("figure", {}, half, element("figcaption", {}, `${value}`)));
      });
      if (note) pair.append(element("small", {}, note));
      parts.append(pair);
    }
    if (said.top) parts.append(examples(channel, said, folder));
    if (said.histogram) parts.append(histogram(said));
    if (said.trust) {
      const list = element("ul", { class: "trust" });
      for (const [name, value, text, warning] of said.trust)
        list.append(
          element(
            "li",
            warning ? { class: "careful" } : {},
            element("b", {}, `${name} ${value === null ? "" : value}: `),
            text,
          ),
        );
      parts.append(element("div", { class: "wide" }, element("h3", {}, "How far the image may be believed"), list));
    }
    if (!parts.childElementCount) parts.append("The atlas holds nothing of this unit.");
    return [title, parts];
  }

  function examples(channel, said, folder) {
    const made = element("div", {}, element("h3", {}, "Real pictures that move it most, and least"));
    if (said.pixels) {
      const alt = `Parts of the ${said.top.length} pictures that move it most, and of those that move it least`;
      made.append(element("img", { class: "patches", src: `${folder}/examples-${channel}.jpg`, alt }));
      made.append(element("small", {}, `to ${said.top[0][1]} at most, ${said.bottom[0][1]} at least`));
      return made;
    }
    const list = element("ol", { class: "numbers" });
    for (const [index, value] of said.top) list.append(element("li", {}, `picture ${index}: ${value}`));
    made.append(list, element("small", {}, "The atlas keeps their numbers in the dataset, not the pictures."));
    return made;
  }

  function histogram(said) {
    const [counts, low, high] = said.histogram;
    const most = Math.max(...counts, 1);
    const svg = `<svg viewBox="0 0 256 74" width="256" height="74" role="img" aria-label="Histogram of what ${said.count} pictures drive it to, from ${low} to ${high}">${counts
      .map(
        (n, i) =>
          `<rect x="${i * 8}" width="7" y="${60 - (58 * n) / most}" height="${(58 * n) / most}" fill="var(--bar)"/>`,
      )
      .join(
        "",
      )}<text x="0" y="72" font-size="10" fill="var(--soft)">${low}</text><text x="256" y="72" font-size="10" text-anchor="end" fill="var(--soft)">${high}</text></svg>`;
    const made = element("div", {}, element("h3", {}, `What ${said.count.toLocaleString("en")} pictures drive it to`));
    made.insertAdjacentHTML("beforeend", svg);
    return made;
  }

  // ---- search ----

  function matches(text) {
    const asked = text.trim().toLowerCase();
    if (!asked) return [];
    const result = [];
    const [, name, number] = /^(.*?):?(\d*)$/.exec(asked) ?? [];
    for (const one of about.layers) {
      const own = one.name.toLowerCase();
      if (number !== "" && asked.includes(":") && own.includes(name) && Number(number) < one.channels)
        result.push([own === name ? 0 : 1, `${one.name}:${number}`, one.kind, address(one, Number(number))]);
      else if (own.includes(asked)) result.push([own === asked ? 0 : 2, one.name, one.kind, address(one)]);
    }
    if (layer && /^\d+$/.test(asked) && Number(asked) < layer.channels)
      result.unshift([0, `${layer.name}:${asked}`, "of this layer", address(layer, Number(asked))]);
    const last = about.layers[about.layers.length - 1];
    about.labels.forEach((label, i) => {
      if (labelOf(last, i) && label.toLowerCase().includes(asked))
        result.push([3, label, `${last.name}:${i}`, address(last, i)]);
    });
    return result.sort((a, b) => a[0] - b[0]).slice(0, 40);
  }

  function list() {
    const lines = about ? matches(search.value) : [];
    found.replaceChildren(
      ...lines.map(([, text, small, href]) =>
        element("li", {}, element("a", { href }, text, element("small", {}, small))),
      ),
    );
    if (search.value.trim() && !lines.length)
      found.append(element("li", {}, element("small", {}, " nothing of that name")));
    found.hidden = !search.value.trim();
  }

  search.addEventListener("input", list);
  search.form.addEventListener("submit", (event) => {
    event.preventDefault();
    found.querySelector("a")?.click();
  });
  found.addEventListener("click", () => {
    search.value = "";
    list();
  });
  document.addEventListener("focusin", ({ target }) => {
    if (!search.form.contains(target)) found.hidden = true;
  });

  // ---- keys ----

  function leave() {
    const channel = selected();
    history.replaceState(null, "", location.pathname + location.search);
    show();
    if (channel !== null) document.getElementById(`tile-${channel}`).focus();
  }

  /** How many tiles stand in a row. */
  function across() {
    const all = tilesOf();
    const second = all.findIndex((one) => one.offsetTop > all[0].offsetTop);
    return second < 0 ? all.length : second;
  }

  function move(by) {
    const from =
      selected() ?? (document.activeElement?.id.startsWith("tile-") ? Number(document.activeElement.id.slice(5)) : -by);
    const to = Math.min(layer.channels - 1, Math.max(0, from + by));
    history.replaceState(null, "", `#${to}`);
    show();
    document.getElementById(`tile-${to}`).focus({ preventScroll: true });
    document.getElementById("unit").scrollIntoView({ block: "nearest" });
    document.getElementById(`tile-${to}`).scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || !about) return;
    const { key, target } = event;
    if (target === search) {
      if (key === "Escape") {
        search.value = "";
        list();
        search.blur();
      } else if (key === "ArrowDown") found.querySelector("a")?.focus();
      else return;
    } else if (found.contains(target) && (key === "ArrowDown" || key === "ArrowUp")) {
      const links = [...found.querySelectorAll("a")];
      (links[links.indexOf(target) + (key === "ArrowDown" ? 1 : -1)] ?? search).focus();
    } else if (key === "/") search.focus();
    else if (layer && key === "Escape") leave();
    else if (layer && (key === "[" || key === "]")) {
      const one = about.layers[about.layers.indexOf(layer) + (key === "]" ? 1 : -1)];
      if (one) location.href = address(one, selected() === null ? undefined : Math.min(selected(), one.channels - 1));
    } else if (layer && key.startsWith("Arrow")) {
      move({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across(), ArrowDown: across() }[key]);
    } else return;
    event.preventDefault();
  });

  return {
    atlas(data) {
      about = data;
      document.getElementById("home").textContent = `Atlas of ${data.name}`;
      layer = nnLensPage.layer === undefined ? null : data.layers.find((one) => one.slug === nnLensPage.layer);
      if (layer) drawLayer();
      else drawIndex();
    },
    units(_slug, start, said) {
      told.set(start, said);
      show();
    },
  };
})();
