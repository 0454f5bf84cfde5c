// One run while it goes on: figures, reward per environment, outcomes, other curves, its services, its rollouts.

import { bar, legend, lines } from "./charts.js";
import { ago, fill, figure, foreign, h, moment, number, reward, short } from "./dom.js";
import { rollouts } from "./list.js";
import { status } from "./runs.js";
import { services } from "./services.js";

const OUTCOMES = ["scored", "truncated", "env_error", "policy_error", "judge_error", "cancelled"];

export async function run(here) {
  const { store, run: name = "" } = here.parameters;
  here.title(name || "Run");
  here.crumbs([["Runs", "#/"], [name || "(without a name)", null]]);
  const parts = Object.fromEntries(["head", "figures", "rewards", "outcomes", "charts", "services"].map((part) => [part, h("div")]));
  const watched = h("section", { "aria-labelledby": "services-title", hidden: true });
  const list = h("section", { "aria-labelledby": "rollouts-title" });
  fill(here.main, parts.head, parts.figures,
    h("div", { class: "split" },
      h("section", { "aria-labelledby": "reward-title" }, h("h2", { id: "reward-title" }, "Reward per environment"), parts.rewards),
      h("section", { "aria-labelledby": "outcome-title" }, h("h2", { id: "outcome-title" }, "Outcomes"), parts.outcomes)),
    watched,
    h("section", { "aria-labelledby": "charts-title" }, h("h2", { id: "charts-title" }, "Curves"), parts.charts), list);
  const meta = h("p", { class: "meta" });
  fill(parts.head, h("h1", { tabindex: "-1" }, foreign(name || "(without a name)")), meta);
  const told = await rollouts(here, list);
  let heading = "";
  here.follow({ store, run: name }, {
    run: (shown) => {
      const words = JSON.stringify([shown.run.status, shown.run.finished_at]);
      if (words !== heading) head(meta, shown.run);
      heading = words;
      draw(parts, shown);
      told(shown);
    },
    services: (reports) => {
      watched.hidden = !reports.length;
      if (reports.length && !watched.matches(":focus-within")) fill(watched, h("h2", { id: "services-title" }, "Services"), services(reports));
    },
  });
}

function head(meta, one) {
  const facts = [one.kind, one.arm && `arm ${one.arm}`, one.seed !== null && `seed ${one.seed}`].filter(Boolean).join(", ");
  fill(meta, status(one.status), facts && h("span", {}, foreign(facts)),
    one.created_at > 0 && h("span", { title: moment(one.created_at) }, `began ${ago(one.created_at)}`),
    one.finished_at && h("span", { title: moment(one.finished_at) }, `ended after ${number((one.finished_at - one.created_at) / 60, 1)} min`));
}

function draw(parts, shown) {
  const { run: one, last } = shown;
  const speed = shown.speed.at(-1)?.[1];
  const drift = shown.mismatch.at(-1)?.[1];
  const before = one.reward_before, after = one.reward_after;
  fill(parts.figures, h("dl", { class: "figures" },
    last && figure("step", number(last.step)),
    last?.reward !== undefined && figure("reward, last step", reward(last.reward)),
    before !== null && after !== null && figure("held-out reward", `${reward(before)} → ${reward(after)}`),
    figure("rollouts", number(one.rollouts), shown.complete ? "" : `${number(shown.counted)} counted so far`),
    speed !== undefined && figure("sampled tokens", `${short(speed)} /s`),
    last?.total_step_time !== undefined && figure("time per step", `${short(last.total_step_time)} s`),
    drift !== undefined && figure("sampling against training", short(Math.abs(drift)), "mismatch")));
  if (!parts.rewards.matches(":hover")) rewards(parts.rewards, shown);
  outcomes(parts.outcomes, shown.outcomes);
  if (!parts.charts.matches(":hover")) {
    fill(parts.charts, shown.charts.length ? h("div", { class: "charts" }, shown.charts.map((chart) =>
      h("figure", {}, h("figcaption", {}, chart.title, chart.unit && h("small", { class: "faint" }, ` ${chart.unit}`)),
        lines(chart.title, [{ name: chart.title, points: chart.points, colour: 0 }], { unit: chart.unit }))))
      : h("p", { class: "faint" }, "This run wrote no metrics."));
  }
}

function rewards(part, shown) {
  const series = Object.entries(shown.rewards).map(([name, points], at) => ({ name, points, colour: at % 9 }));
  if (!series.some((one) => one.points.length)) return fill(part, h("p", { class: "faint" }, "No rollout has been scored yet."));
  const values = series.flatMap((one) => one.points.map(([, y]) => y));
  const range = Math.min(...values) >= 0 && Math.max(...values) <= 1 ? [0, 1] : null;
  fill(part, lines("Reward per environment over steps", series, { range }), legend(series),
    h("p", { class: "faint" }, shown.rewards_from === "metrics" ? "As the trainer measured it, by step." : "Mean of the stored rollouts of each step, evaluations included."),
    h("details", {}, h("summary", {}, "As a table"), table(series)));
}

function table(series) {
  return h("div", { class: "scroll" }, h("table", { class: "list tight" },
    h("thead", {}, h("tr", {}, ["Environment", "First", "Lowest", "Highest", "Last", "Steps"].map((name, at) => h("th", { scope: "col", class: at ? "n" : null }, name)))),
    h("tbody", {}, series.map(({ name, points }) => {
      const values = points.map(([, y]) => y);
      return h("tr", {}, h("th", { scope: "row" }, foreign(name)),
        [values[0], Math.min(...values), Math.max(...values), values.at(-1)].map((value) => h("td", { class: "n" }, reward(value))),
        h("td", { class: "n" }, number(points.length)));
    }))));
}

function outcomes(part, found) {
  const names = Object.keys(found);
  if (!names.length) return fill(part, h("p", { class: "faint" }, "No rollout has ended yet."));
  const seen = OUTCOMES.filter((outcome) => names.some((name) => found[name][outcome]));
  fill(part, h("div", { class: "scroll" }, h("table", { class: "list tight" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Environment"), h("th", { scope: "col", class: "wide" }, h("span", { class: "unseen" }, "Shares")),
      seen.map((outcome) => h("th", { scope: "col", class: "n" }, h("i", { class: `swatch ${outcome}` }), outcome.replace("_", " "))))),
    h("tbody", {}, names.map((name) => h("tr", {}, h("th", { scope: "row" }, foreign(name)),
      h("td", { class: "wide" }, bar(seen.map((outcome) => [outcome, found[name][outcome] || 0, outcome.replace("_", " ")]))),
      seen.map((outcome) => h("td", { class: "n" }, number(found[name][outcome] || 0)))))))),
    h("p", { class: "faint" }, "Only scored and truncated rollouts have a reward; the others are failures, never zeros."));
}
