// Two rollouts beside each other: what differs in their figures, and word by word in what was said.

import { get } from "./api.js";
import { differences } from "./difference.js";
import { address, fill, foreign, h, milliseconds, number, outcome, reward, visible } from "./dom.js";

const TITLES = { system: "System", user: "User", assistant: "Policy", think: "Thinking", call: "Tool call", tool: "Tool", other: "Other" };

export async function compare(here) {
  const { store, a, b } = here.parameters;
  const other = here.parameters.store_b || store;
  here.title("Two rollouts");
  const [left, right] = await Promise.all([get("rollout", { store, id: a }, here.signal), get("rollout", { store: other, id: b }, here.signal)]);
  here.crumbs([["Runs", "#/"], [left.rollout.run_id, address("run", { store, run: left.rollout.run_id })], ["Two rollouts", null]]);
  const same = h("input", { type: "checkbox", id: "same", onchange: () => talk.classList.toggle("hide-same", same.checked) });
  const talk = h("div", { class: "pairs" }, pairs(left.parts, right.parts).map(([one, two]) => pair(one, two)));
  fill(here.main, h("h1", { tabindex: "-1" }, "Two rollouts"),
    h("p", { class: "faint" }, "Taken out of A: ", h("del", {}, "struck out"), ". New in B: ", h("ins", {}, "underlined"), "."),
    h("div", { class: "scroll" }, table([store, left, a], [other, right, b])),
    h("div", { class: "filters" }, h("label", { for: "same" }, same, " hide what is the same")), talk);
}

function table([storeA, left, a], [storeB, right, b]) {
  const components = [...new Set([left, right].flatMap((one) => Object.keys(one.verdict?.components || {})))];
  const lines = [
    ["environment", (one) => one.rollout.environment], ["task", (one) => one.rollout.task_id], ["outcome", (one) => one.rollout.outcome, outcome],
    ["reward", (one) => reward(one.reward)], ...components.map((name) => [name, (one) => reward(one.verdict?.components[name])]),
    ["step", (one) => number(one.rollout.step)], ["policy version", (one) => one.rollout.policy_version_max],
    ["tokens written", (one) => number(one.rollout.usage.output_tokens)], ["turns", (one) => number(one.rollout.usage.turns)],
    ["tool calls", (one) => number(one.rollout.usage.tool_calls)], ["ended by", (one) => one.rollout.finish_reason],
    ["error", (one) => one.rollout.error?.message || "–"], ["time", (one) => milliseconds(one.rollout.timings_ms.total)]];
  const cell = (value, show) => h("td", {}, show ? show(value) : foreign(value));
  return h("table", { class: "list facts" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, h("span", { class: "unseen" }, "Figure")),
      [["A", storeA, a], ["B", storeB, b]].map(([name, store, id]) => h("th", { scope: "col" }, `${name} `, h("a", { href: address("rollout", { store, id }) }, foreign(id)))))),
    h("tbody", {}, lines.map(([name, of, show]) => {
      const values = [of(left), of(right)];
      return h("tr", { class: values[0] === values[1] ? "same" : "differs" }, h("th", { scope: "row" }, foreign(name), values[0] !== values[1] && h("span", { class: "unseen" }, " (differs)")), cell(values[0], show), cell(values[1], show));
    })));
}

/** Parts matched in order: the next of the same kind, else one that the other does not have. */
function pairs(left, right) {
  const found = [];
  let j = 0;
  for (const part of left) {
    const match = right.slice(j, j + 6).findIndex((other) => other.kind === part.kind && other.title === part.title);
    if (match < 0) {
      found.push([part, null]);
      continue;
    }
    for (const extra of right.slice(j, j + match)) found.push([null, extra]);
    found.push([part, right[j + match]]);
    j += match + 1;
  }
  return [...found, ...right.slice(j).map((part) => [null, part])];
}

function pair(one, two) {
  const part = one || two;
  const title = h("div", { class: "who" }, TITLES[part.kind] || part.kind, part.title && [" ", h("code", {}, foreign(part.title))],
    !two && h("small", {}, " only in A"), !one && h("small", {}, " only in B"));
  if (!one || !two) return h("article", { class: `pair ${part.kind}` }, title, h("div", { class: "text", dir: "auto" }, h(one ? "del" : "ins", {}, visible(part.text))));
  if (one.text === two.text) {
    const text = h("div", { class: "text", dir: "auto" }, visible(one.text.slice(0, 4000)));
    return h("article", { class: `pair same ${part.kind}` }, title, part.prompt && one.text.length > 400 ? h("details", {}, h("summary", {}, "the same in both"), text) : text);
  }
  const { pieces, coarse } = differences(one.text, two.text);
  return h("article", { class: `pair differs ${part.kind}` }, title, coarse && h("p", { class: "faint" }, "Too different, or too long, to compare word by word: compared by lines."),
    h("div", { class: "text", dir: "auto" }, pieces.map(([kind, text]) => (kind === "=" ? visible(text) : h(kind === "-" ? "del" : "ins", {}, visible(text))))));
}
