// The page of a model.

const data = JSON.parse(byId("data").textContent);

function scroll(label, heads, rows) {
  return make("div", { class: "panel scroll", tabindex: 0, role: "region", "aria-label": label },
    make("table", {}, make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col" }, head)))), make("tbody", {}, rows)));
}

function section(title, ...children) {
  return make("section", { "aria-label": title }, make("h2", {}, title), ...children);
}

function tensors(title, infos) {
  if (!infos.length) return null;
  const rows = infos.map(([text, type, dims, optional], index) => make("tr", {},
    make("td", { class: "number" }, String(index)), make("td", { class: "mono" }, name(text)), make("td", {}, type), make("td", {}, dims),
    make("td", {}, optional ? "optional" : "")));
  return section(title, scroll(title, ["", "name", "type", "dims", ""], rows));
}

function pairs(title, rows) {
  if (!rows.length) return null;
  const body = rows.map(([key, value]) => make("tr", {}, make("th", { scope: "row" }, name(key)), make("td", {}, value)));
  return section(title, make("div", { class: "panel" }, make("table", { class: "pairs" }, make("tbody", {}, body))));
}

function operators() {
  if (!data.operators.length) return section("Operators", make("p", { class: "quiet" }, "This model's file doesn't show them."));
  const most = data.operators[0][1], all = data.operators.reduce((sum, [, count]) => sum + count, 0);
  const words = make("input", { type: "search", oninput: () => fillIn() });
  const body = make("tbody"), status = make("p", { class: "small quiet", role: "status" });
  function fillIn() {
    const shown = data.operators.filter(([text]) => text.toLowerCase().includes(words.value.trim().toLowerCase()));
    body.replaceChildren(...shown.map(([text, count]) => make("tr", {}, make("td", {}, name(text)), make("td", { class: "number" }, count.toLocaleString("en")),
      make("td", { class: "share" }, draw("svg", { viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
        draw("rect", { width: Math.max(0.5, (100 * count) / most), height: 6 }))))));
    status.textContent = `${shown.length.toLocaleString("en")} of ${data.operators.length.toLocaleString("en")} kinds, ${all.toLocaleString("en")} in all`;
  }
  fillIn();
  const title = data.noun[0].toUpperCase() + data.noun.slice(1);
  return section(title, data.operators.length > 8 ? make("div", { class: "tools" }, field("Find", words)) : null,
    make("div", { class: "panel" }, make("table", { class: "operators" }, body)), status);
}

byId("content").replaceChildren(...[
  ...data.notes.map((text) => make("p", { class: "note" }, text)),
  make("section", { "aria-label": "Facts" }, make("dl", { class: "facts panel" }, data.facts.map(([term, text]) =>
    make("div", {}, make("dt", {}, term), make("dd", {}, text))))),
  tensors("Inputs", data.inputs),
  tensors("Outputs", data.outputs),
  pairs("Metadata", data.metadata),
  operators(),
  pairs("The file's header", data.header),
].filter((part) => part));
