// The running services: is each there, how late is its loop, what waits where, how long does each hop take.

import { spark } from "./charts.js";
import { ago, foreign, h, meter, milliseconds, number, short } from "./dom.js";

const SHOWN = 10;

export function services(reports) {
  const up = reports.filter((one) => one.up);
  const queues = up.flatMap((one) => one.queues.map((queue) => ({ ...queue, service: one.name })));
  const hops = up.flatMap((one) => one.hops.map((hop) => ({ ...hop, service: one.name })));
  return [
    h("div", { class: "services" }, reports.map(card)),
    h("div", { class: "halves" }, queues.length > 0 && waiting(queues), hops.length > 0 && latencies(hops)),
  ];
}

function card(report) {
  const facts = [
    ["loop lag", milliseconds(report.lag_ms), report.lag_p99_ms === null ? "" : `p99 ${milliseconds(report.lag_p99_ms)}`, report.course.lag_ms],
    ["requests", `${short(report.requests_s)} /s`, "", report.course.requests_s],
    report.tokens_s === null ? null : ["tokens", `${short(report.tokens_s)} /s`, "", report.course.tokens_s],
    ["memory", report.memory_mb === null ? "–" : `${number(report.memory_mb)} MB`, "", null],
  ].filter(Boolean);
  return h("article", { class: `card ${report.up ? "" : "down"}` },
    h("header", {}, h("h3", {}, foreign(report.name)),
      h("span", { class: `status ${report.up ? "running" : "failed"}` }, report.up ? "up" : "down"),
      h("small", { class: "faint" }, foreign(report.url))),
    !report.up && h("p", { class: "note bad" }, report.said === "not asked yet" ? "Asking…" : [foreign(report.said), ` (since ${ago(report.since)})`]),
    report.restarts > 0 && h("p", { class: "note" }, `restarted ${report.restarts === 1 ? "" : `${report.restarts} times, last `}${ago(report.since)}: counts began anew`),
    report.up && h("dl", { class: "figures small" }, facts.map(([label, value, note, course]) =>
      h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)), course && course.length > 1 && spark(label, course)))));
}

const column = (name, at, numbers) => (name ? h("th", { scope: "col", class: at >= numbers ? "n" : null }, name) : h("td"));

/** A table with the first rows, and the others folded away. */
function table(caption, columns, numbers, rows, rest) {
  const made = (some) => h("div", { class: "scroll" }, h("table", { class: "list tight plain-cells" },
    h("thead", {}, h("tr", {}, columns.map((name, at) => column(name, at, numbers)))), h("tbody", {}, some)));
  return h("section", { "aria-label": caption }, h("h3", { class: "caption" }, caption), made(rows.slice(0, SHOWN)),
    rows.length > SHOWN && h("details", {}, h("summary", {}, `${rows.length - SHOWN} more`), made(rows.slice(SHOWN))), rest && h("p", { class: "faint" }, rest));
}

function waiting(queues) {
  const held = queues.filter((one) => one.value > 0).sort((a, b) => b.value - a.value);
  const empty = queues.length - held.length;
  const most = Math.max(...held.map((one) => one.value), 1);
  if (!held.length) return h("p", { class: "faint" }, `Nothing waits: ${number(empty)} queues are empty.`);
  return table("Queues now", ["Service", "What", "Where", "", "Now"], 3, held.map((one) => h("tr", {},
    h("td", {}, foreign(one.service)), h("td", {}, one.what), h("td", {}, foreign(one.where)), meter(one.value, most), h("td", { class: "n" }, number(one.value)))),
  empty && `${number(empty)} ${empty === 1 ? "queue is" : "queues are"} empty.`);
}

function latencies(hops) {
  const sorted = [...hops].sort((a, b) => b.mean_ms * b.count - a.mean_ms * a.count);
  const slowest = Math.max(...hops.map((one) => one.p99_ms), 0.001);
  return table("Latency per hop, in the last ten seconds", ["Service", "Hop", "Where", "per s", "mean", "p50", "", "p99"], 3, sorted.map((one) => h("tr", {},
    h("td", {}, foreign(one.service)), h("td", {}, foreign(one.hop)), h("td", {}, foreign(one.where)), h("td", { class: "n" }, short(one.per_s)),
    h("td", { class: "n" }, milliseconds(one.mean_ms)), h("td", { class: "n" }, milliseconds(one.p50_ms)), meter(one.p99_ms, slowest), h("td", { class: "n" }, milliseconds(one.p99_ms)))));
}
