// Building the page out of nodes. Text only ever becomes text nodes: nothing that a model wrote is parsed as markup.

const SVG = "http://www.w3.org/2000/svg";
const SVG_TAGS = new Set(["svg", "g", "path", "line", "text", "title", "rect", "circle", "polyline"]);

/** An element: attributes by name, `on…` as listeners, `class` as text; children are nodes, texts, lists, or nothing. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG_TAGS.has(tag) ? document.createElementNS(SVG, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "width%") element.style.setProperty("width", `${value}%`);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(4)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export function fill(element, ...children) {
  const made = document.createDocumentFragment();
  append(made, children);
  element.replaceChildren(made);
}

// Characters that are not seen, or that turn the reading direction round: they are shown as what they are.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;
const NAMES = {
  0x200b: "zero width space", 0x200c: "zero width non-joiner", 0x200d: "zero width joiner",
  0x200e: "left-to-right mark", 0x200f: "right-to-left mark", 0x202a: "left-to-right embedding",
  0x202b: "right-to-left embedding", 0x202c: "pop directional formatting", 0x202d: "left-to-right override",
  0x202e: "right-to-left override", 0x2066: "left-to-right isolate", 0x2067: "right-to-left isolate",
  0x2068: "first strong isolate", 0x2069: "pop directional isolate", 0xfeff: "byte order mark",
  0x00ad: "soft hyphen", 0x001b: "escape", 0x0000: "null",
};

/** The nodes of a foreign text: hidden and direction-changing characters become visible labels. */
export function visible(text) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(HIDDEN)) {
    if (found.index > at) nodes.push(text.slice(at, found.index));
    const code = found[0].codePointAt(0);
    const name = `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
    nodes.push(h("span", { class: "hidden-char", title: NAMES[code] ? `${name} ${NAMES[code]}` : name }, name));
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}

/** A foreign text in one line, with a direction of its own. */
export const foreign = (text, attributes = {}) => h("bdi", attributes, visible(String(text ?? "")));

export const number = (value, digits = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });

/** Three significant digits or so, without a tail of zeros. */
export function short(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return value.toExponential(1).replace("e+", "e");
  return size >= 100 ? number(value) : size >= 10 ? number(value, 1) : String(Number(value.toFixed(3)));
}

export const reward = (value) => (value === null || value === undefined ? "–" : String(Number(value.toFixed(3))));

export function milliseconds(value) {
  if (value === null || value === undefined) return "–";
  return value >= 1000 ? `${(value / 1000).toFixed(value >= 10000 ? 0 : 1)} s` : `${value >= 100 ? Math.round(value) : Number(value.toFixed(1))} ms`;
}

/** "5 s ago", from seconds since the epoch. */
export function ago(seconds) {
  if (!seconds) return "–";
  const passed = Math.max(0, Date.now() / 1000 - seconds);
  if (passed < 90) return `${Math.round(passed)} s ago`;
  if (passed < 5400) return `${Math.round(passed / 60)} min ago`;
  if (passed < 129600) return `${Math.round(passed / 3600)} h ago`;
  return `${Math.round(passed / 86400)} days ago`;
}

export const moment = (seconds) => (seconds ? new Date(seconds * 1000).toLocaleString("en-GB") : "–");

/** `#/view?…` with the parameters that have a value. */
export function address(view, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return `#/${view}${text ? `?${text}` : ""}`;
}

export function outcome(name) {
  return h("span", { class: `outcome ${/^[a-z_]+$/.test(name) ? name : ""}` }, name.replaceAll("_", " "));
}

/** A cell with a bar for the share of `value` in `most`; the number stands beside it. */
export const meter = (value, most) => h("td", { class: "m", "aria-hidden": "true" },
  h("span", { class: `meter ${value < 0 ? "bad" : ""}` }, h("span", { "width%": Math.min(100, (100 * Math.abs(value)) / most) })));

export const figure = (label, value, note = "") =>
  h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)));

export function plain(message, hint = "") {
  return h("div", { class: "plain" }, h("p", {}, message), hint && h("p", { class: "faint" }, hint));
}
