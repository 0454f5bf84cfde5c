// The tokens of a rollout as a heat map: how likely the policy thought each one that it wrote.

import { get } from "./api.js";
import { fill, h, number, visible } from "./dom.js";

const PAGE = 2000;
// Upper bounds of the chance p, by bin; the last bin is what is likelier still.
const BINS = [[0.01, "under 1 %"], [0.1, "1–10 %"], [0.3, "10–30 %"], [0.7, "30–70 %"], [0.95, "70–95 %"], [2, "over 95 %"]];
const KINDS = { prompt: "prompt", think: "thinking", answer: "answer", tool_call: "tool call", "": "not marked" };

export async function tokens(here, section, shown) {
  const { store, id } = here.parameters;
  const traces = shown.rollout.traces;
  fill(section, h("h2", { id: "tokens-title" }, "Tokens"));
  if (!traces.length) {
    section.append(h("p", { class: "faint" }, "No tokens were recorded: the policy sent text only."));
    return;
  }
  const body = h("div");
  const readout = h("p", { class: "readout", role: "status", "aria-live": "polite" }, "Point at a token, or move with the arrow keys.");
  const choose = h("select", { id: "trace", onchange: () => load(Number(choose.value), null) },
    traces.map((trace, at) => h("option", { value: at }, `${at + 1}: ${number(trace.num_tokens)} tokens, ${number(trace.num_trainable)} sampled${trace.began === "start" ? "" : `, ${trace.began}`}`)));
  if (traces.length > 1) section.append(h("div", { class: "filters" }, h("div", { class: "field" }, h("label", { for: "trace" }, "Trace"), choose)));
  section.append(legend(), readout, body);
  attach(body, readout);

  async function load(trace, start) {
    body.setAttribute("aria-busy", "true");
    try {
      const ask = (place) => get("rollout/tokens", { store, id, trace, start: place, count: PAGE }, here.signal);
      let page = await ask(start ?? 0);
      if (start === null && page.first >= page.ids.length) page = await ask(page.first - 200); // past a long prompt
      draw(body, page, (at) => load(trace, at));
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(body, h("p", { class: "note bad" }, error.message));
    } finally {
      body.removeAttribute("aria-busy");
    }
  }
  await load(0, null);
}

const bin = (logprob) => BINS.findIndex(([bound]) => Math.exp(logprob) < bound);
const percent = (logprob) => {
  const p = 100 * Math.exp(logprob);
  return `${p >= 10 ? p.toFixed(0) : p >= 0.1 ? p.toFixed(1) : p.toExponential(0)} %`;
};

function legend() {
  return h("ul", { class: "legend heat" }, BINS.map(([, words], at) => h("li", {}, h("span", { class: `tok t${at}` }, "word"), words)),
    h("li", {}, h("span", { class: "tok given" }, "word"), "given, not sampled"));
}

function draw(body, page, load) {
  const pieces = page.pieces;
  const box = h("div", { class: "tokens", tabindex: "0", role: "group", "aria-label": `Tokens ${page.start + 1} to ${page.start + page.ids.length} of ${page.total}` },
    page.ids.map((token, at) => {
      const text = pieces ? pieces[at] : `${token} `;
      const logprob = page.logprobs[at];
      const span = h("span", { class: `tok ${logprob === null ? "given" : `t${bin(logprob)}`}`, "data-at": at }, visible(text.replaceAll("\n", "⏎\n")));
      span.about = { place: page.start + at, token, text, logprob, kind: page.kinds[at], version: page.versions[at] };
      return span;
    }));
  const end = page.start + page.ids.length;
  fill(body,
    h("p", { class: "faint" }, `${number(page.total)} tokens, ${number(page.sampled)} of them sampled`,
      page.mean_logprob !== null && `; mean log-probability ${page.mean_logprob.toFixed(3)}, perplexity ${Math.exp(-page.mean_logprob).toFixed(2)}`,
      !pieces && "; shown as ids, for there is no tokenizer here"),
    box,
    (page.start > 0 || end < page.total) && h("div", { class: "pager" },
      page.start > 0 && h("button", { type: "button", onclick: () => load(Math.max(0, page.start - PAGE)) }, "Earlier tokens"),
      end < page.total && h("button", { type: "button", onclick: () => load(end) }, "Later tokens"),
      h("span", { class: "faint" }, `${number(page.start + 1)}–${number(end)} of ${number(page.total)}`)),
    page.rarest.length > 0 && h("details", {}, h("summary", {}, "Least likely tokens"), h("ol", { class: "rarest" }, page.rarest.map((one) =>
      h("li", {}, h("code", { dir: "auto" }, one.piece === null ? one.id : visible(one.piece.replaceAll("\n", "⏎"))), ` ${percent(one.logprob)} `,
        h("button", { type: "button", class: "quiet", onclick: () => load(Math.max(0, one.at - 200)) }, `at ${number(one.at)}`))))));
  const begun = [...box.children].find((span) => span.about.logprob !== null);
  if (begun) box.scrollTop = begun.offsetTop - box.offsetTop - 60;
}

/** Pointer and arrow keys read tokens out. */
function attach(body, readout) {
  let marked = null;
  const mark = (span) => {
    marked?.classList.remove("marked");
    marked = span;
    span.classList.add("marked");
    const { place, token, text, logprob, kind, version } = span.about;
    fill(readout, h("code", { dir: "auto" }, visible(text.replaceAll("\n", "⏎"))), ` token ${number(place)}, id ${token}, ${KINDS[kind] ?? kind}`,
      logprob === null ? ", given" : `, ${percent(logprob)} (log-probability ${logprob.toFixed(3)})`, version !== null && `, policy version ${version}`);
  };
  body.addEventListener("pointerover", (event) => { const span = event.target.closest?.(".tok"); if (span?.about) mark(span); });
  body.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || !event.target.classList.contains("tokens")) return;
    const all = [...event.target.children];
    const at = marked && all.includes(marked) ? all.indexOf(marked) + by : 0;
    if (all[at]) {
      mark(all[at]);
      all[at].scrollIntoView({ block: "nearest" });
    }
    event.preventDefault();
  });
}
