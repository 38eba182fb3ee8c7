"use strict";
// Lets the reader choose the axes of the front and a point on it, and shows what the point is.
polyrank.behaviours["tuning-front"] = async (figure) => {
  const { element, shown } = polyrank;
  const data = figure.behaviour.data;
  const [panel] = figure.panels;
  const dim = new Set(data.dim);
  const around = new Set(data.around);
  const seen = figure.rows.flatMap((row, place) => (dim.has(row.role) ? [] : [place]));
  const today = figure.rows.find((row) => row.role === "today");
  const named = Object.keys(data.told);
  let picked = seen.at(-1);

  const groups = [["Objectives", "o"], ["Guardrails", "s"], ["Weights", "w"]];
  const fields = Object.keys(data.axes);

  function choice(label, options) {
    const select = element("select", {}, ...options);
    figure.controls.append(element("label", {}, label, select));
    return select;
  }

  function heading(name) {
    return figure.headings[figure.fields.indexOf(name)];
  }

  function axis(label, start) {
    const parts = groups.map(([title, letter]) => element("optgroup", { label: title },
      ...fields.filter((name) => name.startsWith(letter))
        .map((name) => element("option", { value: name }, heading(name)))));
    const select = choice(label, parts.filter((part) => part.childElementCount));
    select.value = start;
    select.addEventListener("change", redraw);
    return select;
  }

  function called(row) {
    const trial = row.trial === null ? "" : `trial ${row.trial}`;
    return row.role === "front" ? trial : [row.role, trial].filter(Boolean).join(", ");
  }

  const across = axis("Across", fields[0]);
  const up = axis("Up", fields[1]);
  const point = choice("Point", []);
  const all = element("input", { type: "checkbox" });
  figure.controls.append(element("label", { className: "check" }, all, "Zoom out to all trials"));
  all.addEventListener("change", redraw);
  point.addEventListener("change", () => pick(Number(point.value)));

  function listPoints() {
    const order = [...seen].sort((a, b) =>
      Number(!named.includes(figure.rows[a].role)) - Number(!named.includes(figure.rows[b].role))
      || figure.rows[b][across.value] - figure.rows[a][across.value]);
    if (!order.includes(picked)) order.push(picked);
    point.replaceChildren(...order.map((place) =>
      element("option", { value: String(place) }, called(figure.rows[place]))));
    point.value = String(picked);
  }

  function domain(name) {
    const values = figure.rows.filter((row) => all.checked || around.has(row.role)).map((row) => row[name]).filter((value) => value !== null);
    const low = Math.min(...values), high = Math.max(...values);
    const margin = data.margin * (high - low) || 1;
    return [low - margin, high + margin];
  }

  function outside(row) {
    return [across, up].some(({ value: name }) => {
      const [low, high] = domain(name);
      return row[name] !== null && (row[name] < low || row[name] > high);
    });
  }

  async function redraw() {
    for (const { encoding } of figure.specs[0].layer) {
      for (const [channel, select] of [["x", across], ["y", up]]) {
        if (!encoding?.[channel]) continue;
        Object.assign(encoding[channel], { field: select.value, title: data.axes[select.value] });
        encoding[channel].scale.domain = domain(select.value);
      }
    }
    await polyrank.drawAll(figure);
  }

  // Points on the front take the keyboard: one of them by Tab, the others by the arrow keys.
  function marks() {
    return [...panel.querySelectorAll(".mark-symbol path")]
      .filter((mark) => mark.__data__?.datum?.place !== undefined)
      .filter((mark) => !dim.has(mark.__data__.datum.role) && mark.closest("[data-kind]") === null);
  }

  function ready() {
    const view = figure.views[0].view;
    view.addEventListener("click", (_event, item) => {
      if (item?.datum?.place !== undefined) pick(item.datum.place);
    });
    panel.parentElement.setAttribute("role", "group");
    listPoints();
    pick(picked, { quiet: true });
  }

  function reachable() {
    const order = marks().sort((a, b) => a.__data__.x - b.__data__.x);
    for (const mark of order) {
      const row = mark.__data__.datum;
      mark.setAttribute("role", "button");
      mark.setAttribute("aria-label", called(row));
      mark.setAttribute("aria-pressed", String(row.place === picked));
      mark.setAttribute("tabindex", row.place === picked ? "0" : "-1");
    }
    if (order.length && !order.some((mark) => mark.getAttribute("tabindex") === "0")) {
      order[0].setAttribute("tabindex", "0");
    }
    return order;
  }

  panel.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const order = marks().sort((a, b) => a.__data__.x - b.__data__.x);
    const at = order.indexOf(document.activeElement);
    if (!step || at < 0) return;
    event.preventDefault();
    const next = order[Math.min(order.length - 1, Math.max(0, at + step))];
    next.focus();
    pick(next.__data__.datum.place);
  });

  function pick(place, { quiet = false } = {}) {
    picked = place;
    if (outside(figure.rows[place])) {
      all.checked = true;
      redraw();
      return;
    }
    figure.views[0].view.signal("picked", place).run();
    if (![...point.options].some((option) => option.value === String(place))) listPoints();
    point.value = String(place);
    reachable();
    answer(figure.rows[place]);
    if (!quiet) polyrank.say(called(figure.rows[place]));
  }

  function table(title, headings, lines) {
    const cell = (text, at) => element(at ? "td" : "th",
      at ? { className: "right" } : { scope: "row" }, text);
    return element("table", {},
      element("thead", {}, element("tr", {}, ...[title, ...headings].map((text, at) =>
        element("th", { scope: "col", className: at ? "right" : "" }, text)))),
      element("tbody", {}, ...lines.map((line) => element("tr", {}, ...line.map(cell)))));
  }

  function change(value, before) {
    if (value === null || before === null) return "–";
    const difference = value - before;
    const sign = difference > 0 ? "+" : "";
    if (!(before > 0)) return sign + shown(difference);
    return `${sign}${(100 * difference / before).toFixed(2)}\u00a0%`.replace("-", "−");
  }

  function answer(row) {
    const value = (rail, at) => rail.limit + rail.sign * row[`s${at}`];
    const weights = table("Weight", ["This point", "Today"],
      data.weights.map((name, at) => [name, shown(row[`w${at}`]), shown(today[`w${at}`])]));
    const objectives = table("Objective", ["This point", "Against today"],
      data.objectives.map((name, at) =>
        [name, shown(row[`o${at}`]), change(row[`o${at}`], today[`o${at}`])]));
    const rails = table("Guardrail", ["This point", "Limit", "Slack", ""],
      data.guardrails.map((rail, at) =>
        [rail.name, shown(value(rail, at)), shown(rail.limit),
          shown(row[`s${at}`], 3), row[`s${at}`] < 0 ? "missed" : "held"]));
    const tables = [weights, objectives, ...(data.guardrails.length ? [rails] : [])];
    const title = called(row);
    const told = data.told[row.role] ?? data.kinds[row.role];
    figure.answer.replaceChildren(
      element("h4", {}, title[0].toUpperCase() + title.slice(1)),
      element("p", {}, told[0].toUpperCase() + told.slice(1)),
      element("div", { className: "beside" }, ...tables.map((one) =>
        element("div", { className: "scroll" }, one))),
      ...codes(row));
  }

  function codes(row) {
    const found = [];
    if (data.command && row.trial !== null) {
      const name = row.role === "champion" || row.role === "knee" ? row.role : String(row.trial);
      found.push(["To write it into a bundle", data.command.replaceAll("{pick}", name)]);
    }
    if (data.weights.every((_, at) => row[`w${at}`] !== null)) {
      const text = data.places.reduce(
        (model, place, at) => model.replaceAll(place, () => String(row[`w${at}`])), data.model);
      found.push(["The value model, as a file", text]);
    }
    return found.map(([caption, text]) => element("figure", { className: "code" },
      element("figcaption", {}, caption),
      element("div", { className: "copyable" },
        element("pre", { tabIndex: 0 }, element("code", {}, text)),
        element("button", { type: "button", className: "copy" }, "Copy"))));
  }

  figure.drawn = ready;
  ready();
};
