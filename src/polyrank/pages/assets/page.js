"use strict";
// Draws the figures of a page, shows and saves their numbers, and copies code.
window.polyrank = (() => {
  const behaviours = {};
  const figures = {};
  const options = {
    mode: "vega-lite", renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip,
  };

  /** An element with properties and children; strings become text, never markup. */
  function element(name, properties = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(properties)) {
      if (key.includes("-") || key === "role" || key === "scope") made.setAttribute(key, value);
      else made[key] = value;
    }
    made.append(...children);
    return made;
  }

  function say(text) {
    document.getElementById("status").textContent = text;
  }

  /** A number as a reader wants it. */
  function shown(value, digits = 5) {
    if (value === null || value === undefined) return "–";
    if (typeof value !== "number") return String(value);
    return value.toLocaleString("en", { maximumSignificantDigits: digits }).replace("-", "−");
  }

  // Beside the pointer, what Vega gives: an object of strings by title, or one string.
  const tip = element("div", { className: "tip", hidden: true });
  document.body.append(tip);
  function tooltip(_handler, event, _item, value) {
    tip.hidden = value === null || value === undefined || value === "";
    if (tip.hidden) return;
    const entries = typeof value === "object" ? Object.entries(value) : [["", value]];
    const lines = entries.flatMap(([key, one]) => [
      element("dt", {}, key), element("dd", {}, shown(one)),
    ]);
    tip.replaceChildren(element("dl", {}, ...lines));
    const box = tip.getBoundingClientRect();
    const beside = event.clientX + 14 + box.width > innerWidth ? -box.width - 14 : 14;
    tip.style.left = `${Math.max(4, event.clientX + beside)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 4))}px`;
  }
  addEventListener("scroll", () => { tip.hidden = true; }, { passive: true });

  // A spreadsheet would run a text that begins like a formula: an apostrophe keeps it text.
  function field(value) {
    if (value === null) return "";
    if (typeof value !== "string") return String(value);
    const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  }

  function csv(figure) {
    const lines = [figure.headings, ...figure.rows.map((row) => figure.fields.map((f) => row[f]))];
    return lines.map((line) => line.map(field).join(",")).join("\r\n") + "\r\n";
  }

  function save(name, text) {
    const url = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    element("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  }

  function table(figure) {
    const head = figure.headings.map((text, place) => {
      const right = figure.rows.some((row) => typeof row[figure.fields[place]] === "number");
      return element("th", { scope: "col", className: right ? "right" : "" }, text);
    });
    const body = figure.rows.map((row) => element("tr", {}, ...figure.fields.map((name) => {
      const right = typeof row[name] === "number" || row[name] === null;
      return element("td", { className: right ? "right" : "" }, shown(row[name]));
    })));
    return element("table", {},
      element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
  }

  function* encodings(spec) {
    if (spec.encoding) yield spec.encoding;
    for (const layer of spec.layer ?? []) yield* encodings(layer);
  }

  /** One legend above small multiples, in place of one in each. */
  function legend(figure) {
    const looks = {};
    for (const encoding of figure.specs.flatMap((spec) => [...encodings(spec)])) {
      for (const channel of ["color", "fill", "stroke", "strokeDash", "shape"]) {
        for (const one of [encoding[channel], encoding[channel]?.condition]) {
          if (!one?.scale?.domain) continue;
          looks[channel] = one.scale;
          one.legend = null;
        }
      }
    }
    const colors = looks.color ?? looks.stroke ?? looks.fill;
    if (!colors) return;
    figure.panels[0].parentElement.before(element("ul", { className: "legend" },
      ...colors.domain.map((text, place) => element("li", {},
        swatch(colors.range[place], looks.strokeDash?.range[place]), text))));
  }

  function swatch(color, dash) {
    const [svg, line] = ["svg", "line"].map((name) =>
      document.createElementNS("http://www.w3.org/2000/svg", name));
    const set = (made, attributes) => Object.entries(attributes).forEach(
      ([key, value]) => made.setAttribute(key, value));
    set(svg, { width: 30, height: 10, "aria-hidden": "true" });
    set(line, { x1: 1, x2: 29, y1: 5, y2: 5, stroke: color, "stroke-width": 2.5,
      "stroke-dasharray": (dash ?? []).join(" ") });
    svg.append(line);
    return svg;
  }

  async function draw(figure, place) {
    const spec = structuredClone(figure.specs[place]);
    spec.config = fitted(figure.config, figure.panels[place].clientWidth);
    spec.datasets = { ...spec.datasets, rows: figure.rows.map((row, at) => ({ ...row, place: at })) };
    figure.views[place]?.finalize();
    const result = await window.vegaEmbed(figure.panels[place], spec, options);
    figure.views[place] = result;
  }

  async function drawAll(figure) {
    await Promise.all(figure.panels.map((_, place) => draw(figure, place)));
    figure.drawn?.();
  }

  /** What must be cut or wrapped to stay inside the panel. */
  function fitted(config, width) {
    return {
      ...config,
      axis: { ...config.axis, titleLimit: width - 60 },
      title: { ...config.title, limit: width - 10 },
      legend: {
        ...config.legend, columns: Math.max(1, Math.floor((width - 50) / 130)),
        labelLimit: Math.min(220, width - 80), titleLimit: width - 80,
      },
    };
  }

  function read(root, config) {
    const { specs, columns, labels, behaviour } = JSON.parse(
      root.querySelector(":scope > script").textContent);
    const fields = Object.keys(columns);
    const count = columns[fields[0]].length;
    const rows = Array.from({ length: count }, (_, row) =>
      Object.fromEntries(fields.map((name) => [name, columns[name][row]])));
    return {
      root, specs, fields, rows, config, views: [], name: root.dataset.name,
      headings: fields.map((name) => labels[name] ?? name),
      panels: [...root.querySelectorAll(".panel")],
      controls: root.querySelector(".controls"),
      answer: root.querySelector(".answer"),
      behaviour,
    };
  }

  async function start(root, config) {
    const figure = read(root, config);
    figures[figure.name] = figure;
    root.querySelector(".download").addEventListener("click", () => {
      save(`${figure.name}.csv`, csv(figure));
      say(`Saved ${figure.name}.csv`);
    });
    const details = root.querySelector("details");
    details.addEventListener("toggle", () => {
      const place = details.querySelector(".scroll");
      if (details.open && !place.firstChild) place.append(table(figure));
    });
    if (figure.panels.length > 1) legend(figure);
    await drawAll(figure);
    if (figure.behaviour) await behaviours[figure.behaviour.name](figure);
  }

  async function copy(button) {
    const code = button.parentElement.querySelector("code");
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Press Ctrl+C";
    say(button.textContent);
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (button) copy(button);
  });

  async function startAll(config) {
    let width = innerWidth, waiting;
    addEventListener("resize", () => {
      clearTimeout(waiting);
      if (innerWidth === width) return;
      waiting = setTimeout(() => {
        width = innerWidth;
        Object.values(figures).forEach(drawAll);
      }, 150);
    });
    for (const root of document.querySelectorAll("figure.chart")) await start(root, config);
    document.documentElement.dataset.ready = "yes";
  }

  return { behaviours, figures, element, shown, say, drawAll, startAll };
})();
