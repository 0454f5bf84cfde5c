// The rollouts of a run: filtered and searched by the server, a page at a time.

import { get } from "./api.js";
import { address, fill, foreign, h, milliseconds, moment, number, outcome, reward } from "./dom.js";

const FILTERS = ["environment", "outcome", "step", "reward_min", "reward_max", "group_id", "text"];
const OUTCOMES = ["scored", "truncated", "env_error", "policy_error", "judge_error", "cancelled"];

/** Draws the list; gives back what tells it of a run's newest state. */
export async function rollouts(here, section) {
  const { store, run: name = "" } = here.parameters;
  const filters = Object.fromEntries(FILTERS.map((key) => [key, here.parameters[key]]).filter(([, value]) => value));
  const fields = form(here, filters);
  const body = h("div", { "aria-live": "polite" });
  const newer = h("p", { hidden: true }, h("button", { type: "button", onclick: () => load({}) }));
  const state = { newest: 0, total: null, first: true };
  fill(section, h("h2", { id: "rollouts-title" }, "Rollouts"), fields.form, newer, body);
  here.keys({ "/": () => fields.text.focus() });

  async function load(place) {
    body.setAttribute("aria-busy", "true");
    try {
      const page = await get("rollouts", { store, run: name, ...filters, ...place }, here.signal);
      newer.hidden = true;
      state.total = state.seen ?? null;
      state.first = !place.before && !place.after;
      draw(page, place);
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 401) here.failed(error);
      fill(body, h("p", { class: "note bad" }, error.message, error.hint && ` (${error.hint})`));
    } finally {
      body.removeAttribute("aria-busy");
    }
  }

  function draw(page, place) {
    const found = place.after ? [...page.rollouts].reverse() : page.rollouts;
    const filtered = Object.keys(filters).length > 0;
    const scanned = filtered ? `${number(page.scanned)} rollouts searched` : "";
    if (!found.length) {
      fill(body, h("p", {}, filtered ? "No rollout fits. " : "No rollout is stored yet. ", h("small", { class: "faint" }, scanned)), pager(page, place, found));
      return;
    }
    fill(body, h("div", { class: "scroll" }, h("table", { class: "list" },
      h("thead", {}, h("tr", {}, ["Step", "Environment", "Outcome", "Reward", "Last words", "Tokens", "Time"].map((title, at) =>
        h("th", { scope: "col", class: [0, 3, 5, 6].includes(at) ? "n" : null }, title)))),
      h("tbody", {}, found.map((one) => row(store, one, filters))))), pager(page, place, found), scanned && h("p", { class: "faint" }, scanned));
  }

  function pager(page, place, found) {
    const older = place.after ? found.at(-1)?.seq : page.next;
    const back = place.after ? page.next : found[0]?.seq ?? (place.before ? place.before - 1 : null);
    return h("div", { class: "pager" },
      (place.before || place.after) && h("button", { type: "button", onclick: () => load({}) }, "Newest"),
      back && (place.before || (place.after && page.next)) && h("button", { type: "button", onclick: () => load({ after: back }) }, "Newer"),
      older && h("button", { type: "button", onclick: () => load({ before: older }) }, found.length ? "Older" : "Search on"));
  }

  await load({});
  return (shown) => {
    state.seen = shown.run.rollouts;
    if (state.total === null) state.total = state.seen;
    fields.environments(Object.keys(shown.outcomes));
    const more = state.seen - state.total;
    newer.hidden = !(more > 0 && state.first);
    newer.firstChild.textContent = `Show ${number(more)} new ${more === 1 ? "rollout" : "rollouts"}`;
  };
}

function row(store, one, filters) {
  const to = address("rollout", { store, id: one.rollout_id, ...filters });
  return h("tr", {},
    h("td", { class: "n" }, number(one.step)),
    h("td", {}, foreign(one.environment)),
    h("td", {}, outcome(one.outcome)),
    h("td", { class: "n" }, reward(one.reward)),
    h("td", { class: "said" }, h("a", { class: "row", href: to, title: `${one.rollout_id}\n${moment(one.created_at)}` }, one.said ? foreign(one.said) : h("span", { class: "faint" }, one.record_chars > 250000 ? "(a very long rollout)" : "(nothing)"))),
    h("td", { class: "n" }, number(one.tokens)),
    h("td", { class: "n" }, milliseconds(one.total_ms)));
}

function form(here, filters) {
  const environment = h("select", { id: "f-environment", name: "environment" });
  const select = (names) => {
    const known = [...new Set([...names, filters.environment].filter(Boolean))].sort();
    if (environment.options.length === known.length + 1) return;
    const chosen = environment.value || filters.environment || "";
    fill(environment, h("option", { value: "" }, "all"), known.map((name) => h("option", { value: name }, name)));
    environment.value = chosen;
  };
  select([]);
  const field = (label, control) => h("div", { class: "field" }, h("label", { for: control.id }, label), control);
  const input = (id, attributes) => h("input", { id: `f-${id}`, name: id, value: filters[id] || "", ...attributes });
  const outcomes = h("select", { id: "f-outcome", name: "outcome" }, h("option", { value: "" }, "all"),
    OUTCOMES.map((name) => h("option", { value: name, selected: filters.outcome === name }, name.replace("_", " "))));
  const text = input("text", { type: "search", maxlength: 200, placeholder: "words, an error, an id…" });
  const made = h("form", { class: "filters", role: "search", onsubmit: apply },
    field("Search", text), field("Environment", environment), field("Outcome", outcomes),
    field("Step", input("step", { type: "number", min: 0 })),
    field("Reward from", input("reward_min", { type: "number", step: "any" })), field("to", input("reward_max", { type: "number", step: "any" })),
    filters.group_id && h("input", { type: "hidden", name: "group_id", value: filters.group_id }),
    h("button", {}, "Filter"),
    Object.keys(filters).length > 0 && h("a", { href: address("run", { store: here.parameters.store, run: here.parameters.run }) }, "Clear"));
  made.addEventListener("change", (event) => event.target instanceof HTMLSelectElement && made.requestSubmit());

  function apply(event) {
    event.preventDefault();
    const asked = Object.fromEntries([...new FormData(made)].filter(([, value]) => value !== ""));
    location.hash = address("run", { store: here.parameters.store, run: here.parameters.run, ...asked });
  }
  return { form: made, text, environments: select };
}
