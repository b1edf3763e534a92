// How the server is: its charts, models, requests and errors.

import { Chart } from "./charts.js";
import { byId, make, name } from "./dom.js";
import { bytes, count, digits, duration, seconds } from "./figures.js";

const perSecond = (value) => (value === null ? "–" : digits(value));
const whole = (value) => (value === null ? "–" : String(value));

const CHARTS = {
  requests: new Chart(
    "Requests a second",
    [
      { key: "ended_rate", label: "all", kind: "one", filled: true },
      { key: "failed_rate", label: "failed", kind: "three" },
    ],
    perSecond,
    { least: 1 },
  ),
  times: new Chart(
    "Time of requests",
    [
      { key: "p50", label: "p50", kind: "one" },
      { key: "p95", label: "p95", kind: "two" },
      { key: "p99", label: "p99", kind: "three" },
    ],
    seconds,
  ),
  queue: new Chart(
    "Computes and queue",
    [
      { key: "running", label: "running", kind: "one", filled: true },
      { key: "waiting", label: "waiting", kind: "three" },
    ],
    whole,
    { least: 1 },
  ),
  memory: new Chart(
    "Memory of the server",
    [
      { key: "resident_bytes", label: "process", kind: "one", filled: true },
      { key: "held_bytes", label: "requests", kind: "two" },
    ],
    bytes,
  ),
};

const STATES = { READY: ["ready", "good"], LOADING: ["loading", "busy"], UNAVAILABLE: ["not ready", "bad"] };

const ERRORS = 6; // that are shown at once

let chosen = null;
let shown = "";
let latestMoments = null;
let shownGuests = "";
let shownErrors = "";
let errorsUntil = 0;

export function placeCharts() {
  byId("charts").append(...Object.values(CHARTS).map((chart) => chart.element));
  byId("moments").addEventListener("toggle", () => { if (latestMoments) showTable(...latestMoments); });
}

export function choose(model) {
  chosen = model;
  for (const button of byId("models").querySelectorAll("button")) {
    button.setAttribute("aria-current", String(button.dataset.model === model));
  }
}

export function showUnreachable(message) {
  setState(message, "bad");
}

export function show(status, onChoose) {
  showState(status);
  showCharts(status);
  showModels(status, onChoose);
  showGuests(status.guests);
  showRequests(status.requests);
  showErrors(status.errors);
}

function setState(text, kind) {
  const pill = byId("state");
  if (pill.textContent !== text) pill.textContent = text; // so that it is said once
  pill.className = `pill ${kind}`;
}

function showState({ server, models }) {
  const ready = models.filter(({ state }) => state === "READY").length;
  if (server.is_ending) setState("ending", "busy");
  else if (server.is_ready) setState("ready", "good");
  else if (models.some(({ state }) => state === "LOADING")) setState(`loading: ${ready} of ${models.length} ready`, "busy");
  else setState(`${ready} of ${models.length} models ready`, "bad");
  byId("about").textContent = `version ${server.version}, up for ${duration(server.seconds)}`;
}

function showCharts({ moments, limits, now }) {
  const every = moments.every;
  const data = {
    ...moments,
    ended_rate: moments.ended.map((value) => value / every),
    failed_rate: moments.failed.map((value) => value / every),
  };
  const latest = (key) => data[key].at(-1) ?? null;
  const p50 = data.p50.findLast((value) => value !== null) ?? null;
  CHARTS.requests.show(data, every, [perSecond(latest("ended_rate"))]);
  CHARTS.times.show(data, every, [seconds(p50), make("small", {}, " median")]);
  CHARTS.queue.show(data, every, [String(now.running), make("small", {}, ` running, ${now.waiting} waiting`)]);
  CHARTS.memory.show(data, every, [latest("resident_bytes") ? bytes(latest("resident_bytes")) : "–"]);
  CHARTS.queue.element.title = `${limits.computes} computes at once, and ${limits.queue} requests that wait`;
  latestMoments = [data, every];
  if (byId("moments").open) showTable(data, every);
}

function showTable(data, every) {
  const step = 15;
  const rows = [];
  for (let place = data.ended.length - 1; place >= 0; place -= step) {
    const cells = [
      place === data.ended.length - 1 ? "now" : `${duration((data.ended.length - 1 - place) * every)} ago`,
      perSecond(data.ended_rate[place]),
      perSecond(data.failed_rate[place]),
      ...["p50", "p95", "p99"].map((key) => seconds(data[key][place])),
      whole(data.running[place]),
      whole(data.waiting[place]),
      bytes(data.resident_bytes[place]),
    ];
    rows.push(make("tr", {}, cells.map((text, column) => make(column ? "td" : "th", column ? { class: "number" } : { scope: "row" }, text))));
  }
  const heads = ["", "requests a second", "failed", "p50", "p95", "p99", "running", "waiting", "memory"];
  const head = make("tr", {}, heads.map((text, column) => make("th", { scope: "col", class: column ? "number" : "" }, text)));
  byId("moments").querySelector("div").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, rows)));
}

function showModels({ models, more_models: more }, onChoose) {
  byId("no-models").hidden = models.length > 0;
  byId("more-models").hidden = more === 0;
  byId("more-models").textContent = `${count(more)} more aren't shown.`;
  const now = JSON.stringify(models);
  if (now === shown) return; // the focus and the selection of text stay
  shown = now;
  const list = byId("models");
  const buttons = new Map([...list.querySelectorAll("button")].map((button) => [button.dataset.model, button]));
  const items = models.map((model) => {
    let button = buttons.get(model.name);
    if (button === undefined) {
      button = make("button", { type: "button", "aria-current": String(model.name === chosen), onclick: () => onChoose(button.model) });
      button.dataset.model = model.name;
      make("li", {}, button);
    }
    button.model = model;
    button.replaceChildren(...describe(model));
    return button.parentElement;
  });
  const children = [...list.children];
  if (items.length !== children.length || items.some((item, place) => item !== children[place])) list.replaceChildren(...items);
}

function describe(model) {
  const [word, kind] = STATES[model.state] ?? [model.state, "bad"];
  const runs = model.runtime ? `${model.runtime} on ${model.device || "the processor"}` : "";
  return [
    make("span", { class: "name" }, name(model.name), make("span", { class: `pill ${kind}` }, word)),
    ...figures(model, runs),
  ];
}

// What is known of the requests to a model or a guest.
function figures({ requests, failed, percentiles, reason }, first) {
  const facts = [first, requests ? `${count(requests)} ${requests === 1 ? "request" : "requests"}` : "", failed ? `${count(failed)} failed` : ""];
  const [p50, p95] = percentiles ?? [];
  return [
    make("span", { class: "facts" }, facts.filter(Boolean).join(" · ")),
    percentiles ? make("span", { class: "facts" }, `p50 ${seconds(p50)}, p95 ${seconds(p95)}`) : null,
    reason ? make("span", { class: "facts reason" }, reason) : null,
  ].filter(Boolean);
}

function showGuests(guests) {
  const now = JSON.stringify(guests);
  if (now === shownGuests) return;
  shownGuests = now;
  const place = byId("guests");
  place.hidden = guests.length === 0;
  place.querySelector("ul").replaceChildren(...guests.map((guest) => {
    const [word, kind] = guest.reason ? STATES.UNAVAILABLE : STATES.READY;
    const path = `.${guest.path}`; // the page may be below a path of a proxy
    return make("li", { class: "card guest" },
      make("span", { class: "name" }, name(guest.name), make("span", { class: `pill ${kind}` }, word)),
      make("a", { class: "facts", href: path, target: "_blank", rel: "noopener noreferrer" }, guest.path),
      figures(guest, ""));
  }));
}

const HIDDEN = "These are shown where the server listens on its own machine only, or asks for tokens.";

function showRequests(requests) {
  const place = byId("requests");
  if (!requests?.length) {
    place.replaceChildren(make("p", { class: "quiet" }, requests ? "None at the moment." : HIDDEN));
    return;
  }
  const head = ["model", "call", "protocol", "for", "id"].map((text) => make("th", { scope: "col" }, text));
  const rows = requests.map((request) =>
    make("tr", {}, make("td", {}, name(request.model)), make("td", {}, request.call), make("td", {}, request.protocol),
      make("td", {}, seconds(request.seconds)), make("td", { class: "mono" }, request.id)));
  const table = make("table", {}, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
  place.replaceChildren(make("div", { class: "scroll" }, table));
}

function showErrors(errors) {
  const place = byId("errors");
  if (!errors?.length) {
    shownErrors = "";
    place.replaceChildren(make("p", { class: "quiet" }, errors ? "None so far." : HIDDEN));
    return;
  }
  const ids = errors.map(({ id, error }) => id + error).join();
  if (ids === shownErrors && Date.now() < errorsUntil) return; // a text that is selected stays so
  [shownErrors, errorsUntil] = [ids, Date.now() + 15000];
  const items = errors.map((error) =>
    make("li", { class: "card" },
      make("p", { class: "what" }, error.error || `status ${error.status}`),
      make("p", { class: "advice" }, error.advice),
      make("p", { class: "facts" }, error.model ? [name(error.model), " · "] : null,
        `${error.call} · ${error.status} · ${error.requests > 1 ? `${count(error.requests)} times, the last ` : ""}${ago(error.seconds_ago)} · id ${error.id}`)));
  const isOpen = place.querySelector("details")?.open ?? false;
  const more = items.splice(ERRORS);
  place.replaceChildren(make("ul", { class: "errors" }, items));
  if (more.length) place.append(make("details", { open: isOpen }, make("summary", {}, `${more.length} older`), make("ul", { class: "errors" }, more)));
}

function ago(seconds) {
  return seconds < 2 ? "just now" : `${duration(seconds)} ago`;
}
