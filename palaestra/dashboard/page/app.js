// The frame of the page: which view the address asks for, the state of the connection, theme, keys.

import { follow, Refused, setToken } from "./api.js";
import { compare } from "./compare.js";
import { address, fill, foreign, h, plain } from "./dom.js";
import { rollout } from "./rollout.js";
import { run } from "./run.js";
import { runs } from "./runs.js";

const VIEWS = { "": runs, run, rollout, compare };
const main = document.getElementById("main");
const link = document.getElementById("link");
const alertBox = document.getElementById("alert");
let leave = new AbortController();
let keys = {};

/** What a view gets: where it is, where it draws, and how it tells the frame what it knows. */
function context(parameters, signal) {
  return {
    parameters, signal, main,
    crumbs: (items) => fill(document.getElementById("crumbs"), h("ol", {}, items.map(([name, to]) =>
      h("li", {}, to ? h("a", { href: to }, foreign(name)) : h("span", { "aria-current": "page" }, foreign(name)))))),
    title: (text) => { document.title = `${text} · Palaestra`; },
    keys: (map) => { keys = { ...keys, ...map }; },
    trouble, failed,
    follow: (asked, on) => follow(asked, { link: connected, refused: failed, ...on, trouble }, signal),
  };
}

function trouble(error) {
  alertBox.hidden = !error;
  fill(alertBox, error && [h("strong", {}, `${error.message}. `), error.hint ? `${error.hint}. ` : "", "Looking again every second; what is shown is from before."]);
}

function failed(error) {
  if (error.name === "AbortError") return;
  if (error instanceof Refused && error.status === 401) return signIn(error);
  fill(main, h("h1", { tabindex: "-1" }, error.status === 404 ? "Not here" : "That did not work"),
    plain(error.message, error.hint), h("p", {}, h("a", { href: "#/" }, "All runs")));
}

function connected(up, why = "") {
  link.className = `link ${up ? "up" : "down"}`;
  link.textContent = up ? "live" : "not connected";
  link.title = why;
  if (!up && why) trouble({ message: why.replace(/\.$/, "") });
  else if (up) trouble(null);
}

function signIn(error) {
  const field = h("input", { type: "password", id: "token", autocomplete: "current-password", required: true });
  const form = h("form", { class: "sign-in", onsubmit: (event) => {
    event.preventDefault();
    setToken(field.value.trim());
    show();
  } }, h("label", { for: "token" }, "Token"), field, h("button", {}, "Open"));
  fill(main, h("h1", { tabindex: "-1" }, "This server wants its token"),
    plain(`${error.message}.`, "It is the PALAESTRA_TOKEN that the server was started with; it stays in this tab."), form);
  field.focus();
}

async function show() {
  leave.abort();
  leave = new AbortController();
  keys = { u: () => { location.hash = "#/"; } };
  trouble(null);
  link.className = "link";
  link.textContent = "";
  const [, name, query] = /^#?\/?([a-z]*)\??(.*)$/s.exec(location.hash) || [null, "", ""];
  const view = VIEWS[name];
  const parameters = Object.fromEntries(new URLSearchParams(query));
  const here = context(parameters, leave.signal);
  here.title("Runs");
  here.crumbs([["Runs", view === runs ? null : "#/"]]);
  if (!view) return failed(new Refused(404, { message: "There is no such view." }));
  fill(main, h("p", { class: "faint", "aria-busy": "true" }, "Reading…"));
  try {
    await view(here);
  } catch (error) {
    failed(error);
  }
}

// Moving about: what was asked for is read out from its heading on.
let path = "";
window.addEventListener("hashchange", async () => {
  const next = location.hash.split("?")[0];
  await show();
  if (next !== path) main.querySelector("h1")?.focus();
  path = next;
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

const THEMES = ["auto", "light", "dark"];
const theme = document.getElementById("theme");
function paint(name) {
  if (name === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = name;
  theme.textContent = `Theme: ${name}`;
}
paint(localStorage.getItem("palaestra-theme") || "auto");
theme.addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme || "auto") + 1) % THEMES.length];
  localStorage.setItem("palaestra-theme", next);
  paint(next);
});

const help = document.getElementById("help");
document.getElementById("keys").addEventListener("click", () => help.showModal());

document.addEventListener("keydown", (event) => {
  const target = event.target;
  const typing = target instanceof HTMLElement && (target.matches("input, select, textarea") || target.isContentEditable);
  if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
  if (typing) {
    if (event.key === "Escape") target.blur();
    return;
  }
  if (event.key === "?") help.showModal();
  else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});

/** The next or previous row of the list gets the focus. */
function step(by) {
  const rows = [...main.querySelectorAll("tbody a.row, li a.row")];
  const at = rows.indexOf(document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, at + by))]?.focus();
}

path = location.hash.split("?")[0];
if (!location.hash) history.replaceState(null, "", address(""));
show();
