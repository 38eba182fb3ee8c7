"use strict";
// The console: one request, its ranking under weights that can be dragged, and what is going on.
// Whatever a server or a client said is put into the page as text, never as markup.

const $ = (id) => document.getElementById(id);
const COLORS = 8;
const SVG = "http://www.w3.org/2000/svg";
const state = { models: {}, inForce: null, tree: null, before: null, latest: 0, history: {} };

// Whole numbers beyond 2^53 are kept digit by digit: an id that was rounded is another one's.
const isLong = (value, text) => Number.isInteger(value) && !Number.isSafeInteger(value) && /^-?\d+$/.test(text);
const parse = (text) => JSON.parse(text, (_, value, context) =>
  JSON.rawJSON && context && isLong(value, context.source) ? JSON.rawJSON(context.source) : value);
const shown = (id) => id && id.rawJSON !== undefined ? id.rawJSON : String(id);

async function call(method, path, body, token) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(path, {
    method, headers, body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  let told;
  try { told = parse(text); } catch { told = { error: `the server answered ${answer.status}` }; }
  if (!answer.ok) throw Object.assign(new Error(told.error || `the server answered ${answer.status}`), { status: answer.status });
  return told;
}

// Without a token of its own a server has no routes for operators.
const ofOperators = (error) => error.status === 404 && $("model").value in state.models
  ? "this server was started without a token (--admin-token FILE), so nothing can be changed" : error.message;

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (key === "style") made.style.cssText = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function fill(select, names, chosen) {
  select.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
  if (names.includes(chosen)) select.value = chosen;
}

const number = (value, digits = 4) => Number(value).toPrecision(digits).replace(/(\.\d*?)0+(e|$)/, "$1$2").replace(/\.(e|$)/, "$1");
const clone = (tree) => parse(JSON.stringify(tree));
const say = (id, text) => { $(id).textContent = text; };

// ---- models, versions, profiles

async function loadModels() {
  state.models = await call("GET", "/v1/models");
  const names = Object.keys(state.models);
  fill($("model"), names, $("model").value);
  await chooseModel();
}

async function chooseModel() {
  const model = state.models[$("model").value];
  if (!model) { say("status", "no model is loaded"); return; }
  const versions = Object.keys(model.versions);
  fill($("version"), versions, model.serving);
  const others = versions.map((each) => element("option", { value: each }, each));
  $("other").replaceChildren(element("option", { value: "" }, "nothing"), ...others);
  chooseVersion();
}

function version() { return state.models[$("model").value].versions[$("version").value]; }

function chooseVersion() {
  fill($("profile"), Object.keys(version().profiles), $("profile").value);
  say("status", `${version().engine}, loaded ${version().loaded_at.slice(0, 19).replace("T", " ")}`);
  chooseProfile();
}

function chooseProfile() {
  const profile = version().profiles[$("profile").value];
  const terms = Object.entries(profile.weights || {}).map(([task, weight]) => [task, { weight }]);
  state.inForce = profile.value_model || { kind: "weighted_sum", terms: Object.fromEntries(terms) };
  const told = profile.value_model ? `version ${profile.number}` : "default weights";
  say("kind", `${state.inForce.kind}, ${told}`);
  $("save-as").value = $("profile").value;
  setTree(clone(state.inForce));
}

// ---- weights

const DRAGGED = new Set(["weight", "power", "exponent"]);

function leaves(tree, path = []) {
  if (typeof tree === "number") return [{ path, value: tree }];
  if (tree === null || typeof tree !== "object") return [];
  return Object.entries(tree).flatMap(([key, value]) => leaves(value, [...path, key]));
}

function put(tree, path, value) {
  const last = path[path.length - 1];
  let at = tree;
  for (const key of path.slice(0, -1)) at = at[key];
  at[last] = value;
}

function setTree(tree) {
  state.tree = tree;
  $("tree").value = JSON.stringify(tree, null, 2);
  $("tree").classList.remove("bad");
  $("sliders").replaceChildren(...leaves(tree).filter(dragged).map(slider));
  rank();
}

const dragged = ({ path }) => DRAGGED.has(path[path.length - 1]) || path.includes("weights");

function slider({ path, value }) {
  const name = path.filter((key) => key !== "terms" && key !== "weight").join(" ");
  const reach = 2 * Math.abs(value) || 1;
  const low = value < 0 ? -reach : 0;
  const range = element("input", {
    type: "range", min: low, max: low + reach, step: reach / 200, value, "aria-label": `${name}, dragged`,
  });
  const exact = element("input", { type: "number", step: "any", value: number(value), "aria-label": name });
  const change = (wanted) => {
    if (!Number.isFinite(wanted)) return;
    put(state.tree, path, wanted);
    $("tree").value = JSON.stringify(state.tree, null, 2);
    rank();
  };
  range.addEventListener("input", () => { exact.value = number(range.value); change(Number(range.value)); });
  exact.addEventListener("input", () => { range.value = exact.value; change(Number(exact.value)); });
  return element("div", { class: "slider" }, element("span", { class: "name" }, name), range, exact);
}

function editTree() {
  let tree;
  try { tree = parse($("tree").value); } catch { $("tree").classList.add("bad"); return; }
  $("tree").classList.remove("bad");
  state.tree = tree;
  $("sliders").replaceChildren(...leaves(tree).filter(dragged).map(slider));
  rank();
}

// ---- ranking

const isChanged = () => JSON.stringify(state.tree) !== JSON.stringify(state.inForce);

function asked(versionName) {
  const body = parse($("body").value);
  const wanted = { ...body, model: $("model").value, version: versionName, explain: true };
  wanted.profile = $("profile").value;
  if (isChanged()) wanted.value_model = state.tree;
  return wanted;
}

async function rank() {
  if (!$("body").value.trim()) return;
  const turn = ++state.latest;
  await new Promise((done) => setTimeout(done, 30)); // several changes in a row are one request
  if (turn !== state.latest) return;
  try {
    const began = performance.now();
    const names = [$("version").value, $("other").value].filter(Boolean);
    const answers = await Promise.all(names.map((each) => call("POST", "/v1/rank", asked(each))));
    if (turn !== state.latest) return;
    say("error", "");
    show(answers, performance.now() - began);
  } catch (error) {
    if (turn === state.latest) say("error", error.message);
  }
}

function show(answers, milliseconds) {
  const [first] = answers;
  const beside = ["degraded", "unknown", "missing", "ignored"].filter((name) => first[name]);
  const told = beside.map((name) => `${name}: ${JSON.stringify(first[name])}`);
  if (first.value_model.drawn) told.push("drawn for this request");
  say("told", [`${first.candidates.length} candidates in ${milliseconds.toFixed(0)} ms`, ...told].join("; "));
  const terms = [...new Set(answers.flatMap((each) => each.candidates.flatMap((c) => Object.keys(c.terms || {}))))];
  $("legend").replaceChildren(...terms.map((name, place) =>
    element("span", {}, element("i", { class: "swatch", style: `background: var(--c${place % COLORS})` }), name)));
  for (const swatch of $("legend").querySelectorAll(".swatch")) swatch.setAttribute("aria-hidden", "true");
  const before = state.before;
  const first_places = new Map(first.candidates.map((each, place) => [each.index, place]));
  $("tables").replaceChildren(...answers.map((answer, place) =>
    table(answer, terms, place ? first_places : before, place ? "against the first" : "against what is in force")));
  if (!isChanged()) state.before = first_places;
}

function table(answer, terms, places, against) {
  const tasks = Object.keys((answer.candidates[0] || { predictions: {} }).predictions);
  const reach = reaches(answer.candidates);
  const head = element("tr", {}, ...["#", "moved", "candidate", "score", "terms", ...tasks].map((name) =>
    element("th", { scope: "col", class: name === "candidate" || name === "terms" ? "text" : "" }, name)));
  const rows = answer.candidates.map((each, place) => row(each, place, tasks, terms, reach, places));
  const caption = element("caption", {}, `version ${answer.version}, moved ${against}`);
  const made = element("table", {}, caption, element("thead", {}, head), element("tbody", {}, ...rows));
  return element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "ranked candidates" }, made);
}

function reaches(candidates) {
  const side = (sign) => Math.max(0, ...candidates.map((each) =>
    Object.values(each.terms || {}).reduce((sum, value) => sum + Math.max(0, sign * value), 0)));
  return { left: side(-1), width: side(-1) + side(1) || 1 };
}

function row(each, place, tasks, terms, reach, places) {
  const was = places ? places.get(each.index) : undefined;
  const by = was === undefined ? 0 : was - place;
  const moved = element("td", { class: by > 0 ? "up" : by < 0 ? "down" : "" }, by ? `${by > 0 ? "▲" : "▼"}${Math.abs(by)}` : "");
  const id = shown(each.id);
  return element("tr", {},
    element("td", {}, String(place + 1)), moved,
    element("td", { class: "text", title: id }, id),
    element("td", {}, number(each.score)),
    element("td", { class: "terms" }, bars(each.terms || {}, terms, reach)),
    ...tasks.map((task) => element("td", {}, number(each.predictions[task], 3))));
}

function bars(values, names, reach) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `${(-100 * reach.left) / reach.width} 0 100 12`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("height", "12");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", names.map((name) => `${name} ${number(values[name] ?? 0)}`).join(", "));
  let right = 0, left = 0;
  names.forEach((name, place) => {
    const value = values[name] ?? 0;
    const width = (Math.abs(value) / reach.width) * 100;
    const bar = document.createElementNS(SVG, "rect");
    bar.setAttribute("x", value >= 0 ? right : left - width);
    bar.setAttribute("width", width);
    bar.setAttribute("height", 12);
    bar.style.fill = `var(--c${place % COLORS})`;
    if (value >= 0) right += width; else left -= width;
    svg.append(bar);
  });
  return svg;
}

// ---- requests

async function example() {
  try {
    const body = await call("GET", `/v1/models/${encodeURIComponent($("model").value)}/example`);
    setBody(body);
  } catch (error) { say("error", error.message); }
}

function setBody(body) {
  const { model, version: _, profile, explain, value_model, ...rest } = body;
  // A list of numbers stands on one line.
  $("body").value = JSON.stringify(rest, null, 1).replace(/\[\n[^\[\]{}"]*\]/g, (list) => list.replace(/\s+/g, " ").replace("[ ", "[").replace(" ]", "]"));
  state.before = null;
  rank();
}

async function loadRecorded() {
  if (!$("token").value) return;
  try {
    const path = `/v1/models/${encodeURIComponent($("model").value)}`;
    const [asked, tried] = await Promise.all(["requests", "recorded"].map((what) =>
      call("GET", `${path}/${what}`, undefined, $("token").value)));
    state.recorded = [...asked, tried];
    const told = state.recorded.map((each, place) => element("option", { value: place },
      `${place < asked.length ? place + 1 : "rows it was tried on"}: ${(each.candidates || []).length} candidates`));
    $("recorded").replaceChildren(element("option", { value: "" }, "choose"), ...told);
  } catch (error) { say("saved", ofOperators(error)); }
}

// ---- saving

async function save(event) {
  event.preventDefault();
  const profile = $("save-as").value;
  await change("PUT", "value-model", { profile, value_model: state.tree, by: "console" }, profile);
}

async function change(method, what, body, profile) {
  try {
    const path = `/v1/models/${encodeURIComponent($("model").value)}/${what}`;
    const done = await call(method, path, body, $("token").value);
    state.models = await call("GET", "/v1/models");
    fill($("profile"), Object.keys(version().profiles), profile);
    chooseProfile();
    say("saved", `profile ${done.profile} is at version ${done.value_version}`);
  } catch (error) { say("saved", ofOperators(error)); }
}

// ---- live

async function live() {
  if (!document.hidden) {
    try {
      const stats = await call("GET", "/v1/stats");
      showRoutes(stats.routes);
      showSpreads(stats.distributions[$("model").value] || {});
    } catch (error) { say("status", error.message); }
  }
  setTimeout(live, 2000);
}

function showRoutes(routes) {
  const head = ["route", "requests", "refused", "failed", "p50 ms", "p90 ms", "p99 ms", "p99 so far"];
  const rows = Object.entries(routes).map(([route, told]) => {
    const kept = state.history[route] = [...(state.history[route] || []), told.ms.p99].slice(-60);
    const cells = [told.requests, told.refused, told.failed, ...["p50", "p90", "p99"].map((q) => number(told.ms[q]))];
    return element("tr", {}, element("td", { class: "text" }, route),
      ...cells.map((cell) => element("td", {}, String(cell))), element("td", { class: "terms" }, line(kept)));
  });
  $("routes").replaceChildren(element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "latency by route" },
    element("table", {}, element("caption", {}, "Latency by route"),
      element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { scope: "col", class: name === "route" || name === "p99 so far" ? "text" : "" }, name)))),
      element("tbody", {}, ...rows))));
}

function line(values) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 60 14");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("height", "14");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `from ${number(Math.min(...values))} to ${number(Math.max(...values))} ms`);
  const high = Math.max(...values) || 1;
  const path = document.createElementNS(SVG, "polyline");
  path.setAttribute("points", values.map((value, at) => `${at},${13 - (value / high) * 12}`).join(" "));
  path.setAttribute("fill", "none");
  path.setAttribute("vector-effect", "non-scaling-stroke");
  path.style.stroke = "var(--accent)";
  svg.append(path);
  return svg;
}

function showSpreads(spreads) {
  $("spreads").replaceChildren(...Object.entries(spreads).map(([name, spread]) => {
    const svg = document.createElementNS(SVG, "svg");
    svg.setAttribute("viewBox", `0 0 ${spread.counts.length} 40`);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("height", "60");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", `${name} from ${number(spread.low)} to ${number(spread.high)}`);
    const high = Math.max(...spread.counts);
    spread.counts.forEach((count, place) => {
      const bar = document.createElementNS(SVG, "rect");
      bar.setAttribute("x", place + 0.08);
      bar.setAttribute("width", 0.84);
      bar.setAttribute("y", 40 - (count / high) * 40);
      bar.setAttribute("height", (count / high) * 40);
      bar.style.fill = "var(--accent)";
      svg.append(bar);
    });
    const told = `${name}: ${number(spread.low)} to ${number(spread.high)}`;
    return element("figure", {}, svg, element("figcaption", {}, told));
  }));
}

// ---- begin

$("model").addEventListener("change", () => { $("body").value = ""; state.before = null; chooseModel().then(example); });
$("version").addEventListener("change", () => { state.before = null; chooseVersion(); });
$("profile").addEventListener("change", () => { state.before = null; chooseProfile(); });
$("other").addEventListener("change", rank);
$("example").addEventListener("click", example);
$("rank").addEventListener("click", () => { state.before = null; rank(); });
$("reset").addEventListener("click", () => setTree(clone(state.inForce)));
$("tree").addEventListener("input", editTree);
$("save").addEventListener("submit", save);
$("rollback").addEventListener("click", () => change("POST", "value-model/rollback", { profile: $("save-as").value }, $("save-as").value));
$("token").addEventListener("change", loadRecorded);
$("recorded").addEventListener("focus", loadRecorded);
$("recorded").addEventListener("change", () => { if ($("recorded").value) setBody(state.recorded[Number($("recorded").value)]); });
loadModels().then(example, (error) => say("error", error.message));
live();
