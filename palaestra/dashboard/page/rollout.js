// One rollout: what was said, thinking and tools apart; the verdict, where the time went, the group; the tokens.

import { get } from "./api.js";
import { address, figure, fill, foreign, h, meter, milliseconds, moment, number, outcome, reward, visible } from "./dom.js";
import { tokens } from "./tokens.js";

const FILTERS = ["environment", "outcome", "step", "reward_min", "reward_max", "group_id", "text"];
const TITLES = { system: "System", user: "User", assistant: "Policy", think: "Thinking", call: "Tool call", tool: "Tool", other: "Other" };

export async function rollout(here) {
  const { store, id } = here.parameters;
  const shown = await get("rollout", { store, id }, here.signal);
  const one = shown.rollout;
  const up = address("run", { store, run: one.run_id, ...filtersOf(here.parameters) });
  here.title(id);
  here.crumbs([["Runs", "#/"], [one.run_id || "(without a name)", up], ["Rollout", null]]);
  here.keys({ u: () => { location.hash = up; } });
  const heat = h("section", { "aria-labelledby": "tokens-title" });
  fill(here.main,
    h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, foreign(one.environment || "Rollout"), h("small", {}, foreign(id))), await neighbours(here, shown)),
    h("p", { class: "meta" }, outcome(one.outcome), h("span", {}, "reward ", h("strong", {}, reward(shown.reward))),
      h("span", {}, `step ${number(one.step)}`), h("span", {}, `repeat ${one.repeat + 1} of ${one.group_size}`),
      h("span", {}, versions(one)), h("span", { title: moment(one.created_at) }, moment(one.created_at))),
    one.error && h("div", { class: "note bad" }, h("strong", {}, `${one.error.code} at ${one.error.stage || "?"}: `), foreign(one.error.message), one.error.hint && [" ", foreign(one.error.hint)]),
    h("div", { class: "sides" },
      h("div", {}, h("section", { "aria-labelledby": "talk-title" }, h("h2", { id: "talk-title" }, "Conversation"), promptNote(shown), conversation(shown, here)), heat),
      h("aside", {}, verdict(shown), facts(one), group(shown, here))));
  await tokens(here, heat, shown);
}

const versions = (one) => (one.policy_version_max < 0 ? "policy version unknown"
  : one.policy_version_min === one.policy_version_max ? `policy version ${one.policy_version_max}` : `policy versions ${one.policy_version_min}–${one.policy_version_max}`);

export const filtersOf = (parameters) => Object.fromEntries(FILTERS.map((key) => [key, parameters[key]]).filter(([, value]) => value));

async function neighbours(here, shown) {
  const { store } = here.parameters;
  const filters = filtersOf(here.parameters);
  const asked = { store, run: shown.rollout.run_id, ...filters, limit: 1 };
  const [next, previous] = await Promise.all([
    get("rollouts", { ...asked, before: shown.seq }, here.signal), get("rollouts", { ...asked, after: shown.seq }, here.signal)]);
  const to = (page) => page.rollouts.length && address("rollout", { store, id: page.rollouts[0].rollout_id, ...filters });
  const go = { n: to(next), p: to(previous) };
  here.keys({ n: () => { if (go.n) location.hash = go.n; }, p: () => { if (go.p) location.hash = go.p; } });
  return h("nav", { class: "pager", "aria-label": "Other rollouts" },
    go.p ? h("a", { class: "button", href: go.p, rel: "prev" }, "← Newer") : h("span", { class: "button off" }, "← Newer"),
    go.n ? h("a", { class: "button", href: go.n, rel: "next" }, "Older →") : h("span", { class: "button off" }, "Older →"),
    h("button", { type: "button", onclick: () => raw(here) }, "Save as JSON"));
}

/** The stored record as a file, fetched with the token that the page has. */
async function raw(here) {
  const { store, id } = here.parameters;
  const record = await get("rollout/raw", { store, id }, here.signal);
  const url = URL.createObjectURL(new Blob([JSON.stringify(record, null, 2)], { type: "application/json" }));
  h("a", { href: url, download: `${id.replace(/[^\w.-]+/g, "_")}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function promptNote(shown) {
  if (shown.prompt_from === "row") return null;
  return h("p", { class: "faint" }, shown.prompt_from === "tokens" ? "The prompt is read back from its tokens."
    : "The prompt is not shown: neither the task's row nor a tokenizer for its tokens is kept here.");
}

/** All parts in order; each call stands with the results that name it. */
function conversation(shown, here) {
  if (!shown.parts.length) return h("p", { class: "faint" }, "Nothing was said.");
  return h("ol", { class: "talk" }, shown.parts.map((part, at) => bubble(part, at, here)));
}

function bubble(part, at, here) {
  const text = h("div", { class: "text", dir: "auto" }, visible(pretty(part)));
  const title = [TITLES[part.kind] || part.kind, part.title && [" ", h("code", {}, foreign(part.title))]];
  const more = part.length > part.text.length && rest(part, at, text, here);
  const note = part.length > 2000 && h("small", { class: "faint" }, ` ${number(part.length)} characters`);
  const attributes = { class: `part ${part.kind}${part.prompt ? " prompt" : ""}`, "data-part": at };
  if (part.kind === "think" || (part.prompt && part.kind === "system")) {
    return h("li", attributes, h("details", { open: part.kind === "think" && part.length < 4000 }, h("summary", {}, title, note), text, more));
  }
  return h("li", attributes, h("div", { class: "who" }, title, note), part.text === "" ? h("p", { class: "faint" }, "(empty)") : text, more);
}

/** Arguments of a call, laid out where they are JSON. */
function pretty(part) {
  if (part.kind !== "call" || part.length > 5000) return part.text;
  try {
    const value = JSON.parse(part.text);
    const laid = JSON.stringify(value, null, 1);
    return laid.length > 60 ? laid : JSON.stringify(value);
  } catch {
    return part.text;
  }
}

function rest(part, at, text, here) {
  const { store, id } = here.parameters;
  let have = part.text.length ? [...part.text].length : 0;
  const button = h("button", { type: "button" });
  const say = () => { button.textContent = `Show more (${number(part.length - have)} characters left)`; };
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const piece = await get("rollout/text", { store, id, part: at, start: have }, here.signal);
      const added = [...piece.text].length;
      have = added ? have + added : part.length;
      text.append(...visible(piece.text));
      say();
      if (have >= part.length) button.remove();
    } catch (error) {
      here.failed(error);
    } finally {
      button.disabled = false;
    }
  });
  say();
  return button;
}

function verdict(shown) {
  const said = shown.verdict;
  if (!said) return h("section", { class: "card" }, h("h2", {}, "Verdict"), h("p", {}, "There is none: an infrastructure failure is never a reward."));
  const parts = Object.entries(said.components);
  const most = Math.max(1, ...parts.map(([, value]) => Math.abs(value)));
  const others = Object.entries(said.gradings).filter(([name]) => name !== said.grading);
  return h("section", { class: "card" }, h("h2", {}, "Verdict"),
    h("p", { class: "big" }, reward(said.reward), h("small", {}, ` ${said.grading} grading`)),
    others.map(([name, value]) => h("p", { class: "faint" }, `under ${name} grading: ${reward(value)}`)),
    parts.length > 0 && h("table", { class: "list tight" }, h("caption", {}, "Components"), h("tbody", {}, parts.map(([name, value]) =>
      h("tr", {}, h("th", { scope: "row" }, foreign(name)), meter(value, most), h("td", { class: "n" }, reward(value)))))),
    said.details && h("details", { open: said.details.length < 600 }, h("summary", {}, "Details"), h("pre", { dir: "auto" }, visible(said.details))));
}

function facts(one) {
  const stages = Object.entries(one.timings_ms).filter(([name]) => name !== "total");
  const longest = Math.max(...stages.map(([, value]) => value), 0.001);
  return h("section", { class: "card" }, h("h2", {}, "Facts"),
    h("dl", { class: "figures small" },
      figure("tokens read", number(one.usage.input_tokens)), figure("tokens written", number(one.usage.output_tokens)),
      figure("turns", number(one.usage.turns)), figure("tool calls", number(one.usage.tool_calls), one.usage.tool_errors ? `${one.usage.tool_errors} refused` : ""),
      figure("ended by", one.finish_reason || "–"), figure("time", milliseconds(one.timings_ms.total))),
    stages.length > 0 && h("table", { class: "list tight" }, h("caption", {}, "Where the time went"), h("tbody", {}, stages.map(([name, value]) =>
      h("tr", {}, h("th", { scope: "row" }, foreign(name)), meter(value, longest), h("td", { class: "n" }, milliseconds(value)))))),
    h("details", {}, h("summary", {}, "Names"), h("dl", { class: "names" },
      [["rollout", one.rollout_id], ["task", one.task_id], ["group", one.group_id], ["seed", one.seed], ["environment version", one.environment_version],
        ...Object.entries(one.labels)].map(([name, value]) => h("div", {}, h("dt", {}, foreign(name)), h("dd", {}, foreign(value)))))));
}

function group(shown, here) {
  const { store, id } = here.parameters;
  const other = h("input", { id: "other", placeholder: "another rollout's id", required: true });
  const form = h("form", { class: "filters", onsubmit: (event) => {
    event.preventDefault();
    location.hash = address("compare", { store, a: id, b: other.value.trim() });
  } }, h("div", { class: "field" }, h("label", { for: "other" }, "Compare with"), other), h("button", {}, "Compare"));
  const members = shown.group.filter((one) => one.rollout_id !== id);
  return h("section", { class: "card" }, h("h2", {}, "Group"),
    members.length ? h("ul", { class: "members" }, members.map((one) => h("li", {},
      h("a", { class: "row", href: address("rollout", { store, id: one.rollout_id }) }, outcome(one.outcome), h("b", {}, reward(one.reward))),
      h("a", { href: address("compare", { store, a: id, b: one.rollout_id }), "aria-label": `Compare with ${one.rollout_id}` }, "compare"))))
      : h("p", { class: "faint" }, "No other rollout of this task and step."), form);
}
