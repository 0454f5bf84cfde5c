// All runs of all stores, newest first, and the services that are watched.

import { address, ago, fill, foreign, h, moment, number, plain, reward } from "./dom.js";
import { services } from "./services.js";

export async function runs(here) {
  const list = h("div", {}, h("p", { class: "faint", "aria-busy": "true" }, "Reading…"));
  const watched = h("section", { "aria-labelledby": "services-title", hidden: true });
  fill(here.main, h("h1", { tabindex: "-1" }, "Runs"), list, watched);
  here.follow({}, {
    runs: (found) => draw(list, found),
    services: (reports) => {
      watched.hidden = !reports.length;
      if (reports.length) fill(watched, h("h2", { id: "services-title" }, "Services"), services(reports));
    },
  });
}

function draw(list, { runs: found, stores, troubles }) {
  const focused = document.activeElement?.closest?.("a.row")?.getAttribute("href");
  const said = troubles.map((one) => h("p", { class: "note bad" }, "Store ", foreign(one.store), `: ${one.error.message}`));
  if (!found.length) {
    fill(list, said, empty(stores));
    return;
  }
  const live = found.filter((one) => one.status === "running").length;
  fill(list,
    h("p", { class: "faint" }, `${number(found.length)} ${found.length === 1 ? "run" : "runs"} in ${number(stores)} ${stores === 1 ? "store" : "stores"}, ${live} running`),
    said,
    h("div", { class: "scroll" }, h("table", { class: "list" },
      h("thead", {}, h("tr", {}, ["Run", "Status", "Kind", "Seed", "Rollouts", "Reward before → after", "Last heard of"].map((name, at) =>
        h("th", { scope: "col", class: at === 3 || at === 4 ? "n" : null }, name)))),
      h("tbody", {}, found.map(row)))));
  if (focused) [...list.querySelectorAll("a.row")].find((one) => one.getAttribute("href") === focused)?.focus();
}

function row(one) {
  const before = one.reward_before, after = one.reward_after;
  return h("tr", {},
    h("th", { scope: "row" }, h("a", { class: "row", href: address("run", { store: one.store, run: one.run_id }) }, one.run_id ? foreign(one.run_id) : "(without a name)"),
      one.store !== one.run_id && h("small", { class: "faint" }, " in ", foreign(one.store))),
    h("td", {}, status(one.status)),
    h("td", {}, foreign([one.kind, one.arm].filter(Boolean).join(", ") || "–")),
    h("td", { class: "n" }, one.seed ?? "–"),
    h("td", { class: "n" }, number(one.rollouts)),
    h("td", {}, before === null || after === null ? "–" : [reward(before), " → ", h("strong", {}, reward(after)), " ", h("span", { class: after >= before ? "up-by" : "down-by" }, `${after >= before ? "+" : "−"}${reward(Math.abs(after - before))}`)]),
    h("td", { title: moment(one.heard_at) }, ago(one.heard_at)));
}

const WORDS = {
  silent: "says it is running, but nothing was heard of it for two minutes: it was probably killed",
  unrecorded: "rollouts name this run; nobody keeps a record of it",
};

export const status = (name) =>
  h("span", { class: `status ${["running", "finished", "failed", "silent", "unrecorded"].includes(name) ? name : ""}`, title: WORDS[name] }, name);

function empty(stores) {
  return h("div", { class: "empty" },
    plain(stores ? "The store is empty: no run has written to it yet." : "There is no store here yet.",
      "A run appears here as soon as it begins. To start one:"),
    h("pre", {}, "palaestra quickstart          # a first scored rollout, in a minute\npalaestra train --recipe demo  # a reward that rises, in three"));
}
