// Charts as SVG nodes: a line over steps for each series, a spark, a bar. Each says in words what it shows.

import { h, short } from "./dom.js";

const WIDTH = 640, HEIGHT = 240, LEFT = 60, RIGHT = 10, TOP = 10, BOTTOM = 26;

const tick = (value) => (Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toPrecision(3))));

/** Lines of `series` [{name, points: [[x, y], …]}]; `range` fixes the y axis. The pointer reads values off. */
export function lines(title, series, { range = null, unit = "" } = {}) {
  const shown = series.filter((one) => one.points.length);
  const all = shown.flatMap((one) => one.points);
  if (!all.length) return h("p", { class: "faint" }, "Nothing was recorded yet.");
  const [low, high] = range || padded(all.map(([, y]) => y));
  const xLow = Math.min(...all.map(([x]) => x)), xHigh = Math.max(xLow + 1, ...all.map(([x]) => x));
  const px = (x) => LEFT + ((x - xLow) / (xHigh - xLow)) * (WIDTH - LEFT - RIGHT);
  const py = (y) => HEIGHT - BOTTOM - ((Math.min(Math.max(y, low), high) - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const words = shown.map((one) => `${one.name} from ${short(one.points[0][1])} to ${short(one.points.at(-1)[1])}`).join("; ");
  const svg = h("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title}. ${words}.`, class: "chart" });
  for (let mark = 0; mark <= 4; mark += 1) {
    const value = low + ((high - low) * mark) / 4;
    svg.append(h("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: py(value), y2: py(value) }));
    svg.append(h("text", { class: "axis", x: LEFT - 6, y: py(value) + 4, "text-anchor": "end" }, tick(value)));
  }
  for (const [x, anchor] of [[xLow, "start"], [Math.round((xLow + xHigh) / 2), "middle"], [xHigh, "end"]]) {
    svg.append(h("text", { class: "axis", x: px(x), y: HEIGHT - 8, "text-anchor": anchor }, x));
  }
  shown.forEach((one) => {
    const path = one.points.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(" ");
    if (one.points.length === 1) svg.append(h("circle", { class: `dot s${one.colour}`, cx: px(one.points[0][0]), cy: py(one.points[0][1]), r: 4 }));
    else svg.append(h("polyline", { class: `curve s${one.colour}`, points: path }));
  });
  return h("div", { class: "chart-box" }, svg, reader(svg, shown, { px, xLow, xHigh, unit }));
}

/** The line under the pointer, and the values there. */
function reader(svg, shown, { px, xLow, xHigh, unit }) {
  const hair = h("line", { class: "hair", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  const box = h("div", { class: "tip", hidden: true });
  svg.append(hair);
  svg.addEventListener("pointermove", (event) => {
    const area = svg.getBoundingClientRect();
    const x = xLow + (((event.clientX - area.left) / area.width) * WIDTH - LEFT) / (WIDTH - LEFT - RIGHT) * (xHigh - xLow);
    const near = shown.map((one) => [one, one.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a))]);
    const at = near[0][1][0];
    hair.setAttribute("x1", px(at));
    hair.setAttribute("x2", px(at));
    hair.setAttribute("visibility", "visible");
    box.replaceChildren(h("b", {}, `step ${at}`), ...near.map(([one, [, y]]) =>
      h("span", {}, h("i", { class: `swatch s${one.colour}` }), `${one.name} ${short(y)}${unit && ` ${unit}`}`)));
    box.hidden = false;
    box.classList.toggle("left", event.clientX - area.left > area.width / 2);
  });
  svg.addEventListener("pointerleave", () => {
    hair.setAttribute("visibility", "hidden");
    box.hidden = true;
  });
  return box;
}

function padded(values) {
  const low = Math.min(...values), high = Math.max(...values);
  const room = (high - low) * 0.08 || Math.abs(high) * 0.05 || 1;
  return [low - room, high + room];
}

export function legend(series) {
  if (series.length < 2) return null;
  return h("ul", { class: "legend" }, series.map((one) =>
    h("li", {}, h("i", { class: `swatch s${one.colour}` }), `${one.name} `, h("b", {}, short(one.points.at(-1)?.[1])))));
}

/** A small course of values without axes. */
export function spark(label, values) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, at) => `${((at / Math.max(1, values.length - 1)) * 100).toFixed(1)},${(24 - (value / top) * 22).toFixed(1)}`);
  const svg = h("svg", { viewBox: "0 0 100 26", class: "spark", role: "img", "aria-label": `${label}, lately at most ${short(top)}`, preserveAspectRatio: "none" });
  svg.append(h("polyline", { class: "curve s0", points: points.join(" ") }));
  return svg;
}

/** A share of a whole as a bar; `parts` are [class, count, words]. */
export function bar(parts) {
  const total = parts.reduce((sum, [, count]) => sum + count, 0) || 1;
  const words = parts.map(([, count, name]) => `${name} ${count}`).join(", ");
  return h("div", { class: "bar", role: "img", "aria-label": words, title: words },
    parts.map(([kind, count]) => h("span", { class: kind, "width%": (100 * count) / total })));
}
