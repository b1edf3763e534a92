// The page: it asks the server how it is every two seconds, and lets one model at a time be tried.

import { byId, make, name } from "./dom.js";
import { askJson, useToken } from "./server.js";
import { choose, placeCharts, show, showUnreachable } from "./status.js";
import { showEmbeddings, showText } from "./text.js";
import { showTensors } from "./trial.js";

const EVERY = 2000;
const FORMS = { tensors: showTensors, text: showText, embeddings: showEmbeddings };

let open = null; // the name of the model that is shown
let openKind = null;
let timer = null;
let needsToken = false;

async function look() {
  clearTimeout(timer);
  try {
    const status = await askJson("page/status");
    needsToken = false;
    byId("token-form").hidden = true;
    byId("content").hidden = false;
    show(status, (model) => openModel(model, true));
    openByHash(status.models);
  } catch (error) {
    showUnreachable(error.status === 401 ? "needs a token" : error.status === 0 ? "unreachable" : "refused");
    if (error.status === 401) askForToken(error.message);
    else if (error.status !== 0) byId("about").textContent = error.message;
  }
  if (!needsToken) timer = setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
}

function askForToken(message) {
  const form = byId("token-form");
  byId("content").hidden = true;
  byId("token-reason").textContent = byId("token").value ? `${message}.` : "This server asks for a token.";
  needsToken = true;
  if (form.hidden) {
    form.hidden = false;
    byId("token").focus();
  }
}

byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  look();
});

async function openModel(model, isChosen) {
  open = model.name;
  openKind = model.kind ?? null;
  choose(model.name);
  if (isChosen) history.replaceState(null, "", `#${encodeURIComponent(model.name)}`);
  const article = byId("model");
  const body = make("div", { class: "talk" });
  const facts = [model.platform, model.device].filter(Boolean).join(" · ");
  article.replaceChildren(make("header", {}, make("h3", { tabindex: "-1" }, name(model.name)), make("p", { class: "quiet small" }, facts)), body);
  if (isChosen) article.querySelector("h3").focus({ preventScroll: innerWidth > 768 });
  if (!model.kind) {
    body.append(make("p", { class: model.reason ? "error" : "quiet" }, model.reason || "This model isn't loaded."));
    return;
  }
  try {
    await FORMS[model.kind](body, model);
  } catch (error) {
    body.replaceChildren(make("p", { class: "error", role: "alert" }, error.message));
  }
}

// Open the model of the address, or the first one; and the one that is open again when its kind is known.
function openByHash(models) {
  const current = models.find((model) => model.name === open);
  if (current && (openKind !== null || !current.kind)) return;
  let wanted = null;
  try {
    wanted = decodeURIComponent(location.hash.slice(1));
  } catch {
    // an address that nobody has encoded
  }
  const model = current ?? models.find((each) => each.name === wanted) ?? models[0];
  if (model) openModel(model, false);
  else byId("model").replaceChildren();
}

placeCharts();
document.addEventListener("visibilitychange", () => { if (!document.hidden && !needsToken) look(); });
look();
