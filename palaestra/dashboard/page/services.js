// The running services: is each there, how late is its loop, what waits where, how long does each hop take.

import { spark } from "./charts.js";
import { ago, foreign, h, meter, milliseconds, number, short } from "./dom.js";

export function services(reports) {
  return h("div", { class: "services" }, reports.map(card));
}

function card(report) {
  const facts = [
    ["loop lag", report.lag_ms === null ? "–" : milliseconds(report.lag_ms), report.lag_p99_ms === null ? "" : `p99 ${milliseconds(report.lag_p99_ms)}`, report.course.lag_ms],
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
      h("div", { class: "figure" }, h("dt", {}, label), h("dd", {}, value, note && h("small", {}, note)), course && course.length > 1 && spark(label, course)))),
    report.up && report.queues.length > 0 && queues(report.queues),
    report.up && report.hops.length > 0 && hops(report.hops));
}

const column = (name, at) => (name ? h("th", { scope: "col", class: at > 1 ? "n" : null }, name) : h("td"));

function queues(found) {
  const most = Math.max(...found.map((one) => one.value), 1);
  return h("table", { class: "list tight" }, h("caption", {}, "Queues now"),
    h("thead", {}, h("tr", {}, ["What", "Where", "", "Now"].map(column))),
    h("tbody", {}, found.map((one) => h("tr", {}, h("td", {}, one.what), h("td", {}, foreign(one.where || "")),
      meter(one.value, most), h("td", { class: "n" }, number(one.value))))));
}

function hops(found) {
  const slowest = Math.max(...found.map((one) => one.p99_ms), 0.001);
  return h("table", { class: "list tight" }, h("caption", {}, "Latency per hop, in the last seconds"),
    h("thead", {}, h("tr", {}, ["Hop", "Where", "per s", "mean", "p50", "", "p99"].map(column))),
    h("tbody", {}, found.map((one) => h("tr", {}, h("td", {}, foreign(one.hop)), h("td", {}, foreign(one.where)),
      h("td", { class: "n" }, short(one.per_s)), h("td", { class: "n" }, milliseconds(one.mean_ms)), h("td", { class: "n" }, milliseconds(one.p50_ms)),
      meter(one.p99_ms, slowest), h("td", { class: "n" }, milliseconds(one.p99_ms))))));
}
