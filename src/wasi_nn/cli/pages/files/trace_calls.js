// The table of calls, page by page, and what a call was given and gave.

const ON_A_PAGE = 100;

class Calls {
  constructor(calls, differences, onpick) {
    this.all = calls;
    this.differences = differences;
    this.onpick = onpick;
    this.picked = null;
    this.start = 0;
    this.words = make("input", { type: "search", oninput: () => this.filter(), placeholder: "set_input, FAILED, f32[1, 3" });
    this.failed = make("input", { type: "checkbox", onchange: () => this.filter() });
    this.changed = make("input", { type: "checkbox", onchange: () => this.filter() });
    this.body = make("tbody", { onkeydown: (event) => this.key(event) });
    this.where = make("span", { class: "small quiet", role: "status" });
    this.back = make("button", { class: "second", type: "button", onclick: () => this.turn(-ON_A_PAGE) }, "Back");
    this.next = make("button", { class: "second", type: "button", onclick: () => this.turn(ON_A_PAGE) }, "Next");
    this.filter();
  }

  elements() {
    const has = (kind) => this.all.some(kind);
    const choices = [
      has((call) => call.state) ? make("label", { class: "choice" }, this.failed, "failed") : null,
      has((call) => this.differences[call.number]) ? make("label", { class: "choice" }, this.changed, "different") : null,
    ];
    const names = ["call", "at", "time", "guest before", "name", "arguments", "result"];
    return [
      make("div", { class: "tools" }, field("Find calls", this.words), choices, make("span", { class: "push" }),
        this.where, this.back, this.next),
      make("div", { class: "panel" },
        make("table", { class: "calls" }, make("thead", {}, make("tr", {}, names.map((name) => make("th", { scope: "col" }, name)))), this.body)),
    ];
  }

  filter() {
    const words = this.words.value.toLowerCase().split(/\s+/).filter((word) => word);
    this.shown = this.all.filter((call) => {
      if (this.failed.checked && !call.state) return false;
      if (this.changed.checked && !this.differences[call.number]) return false;
      const text = `${call.number ?? "-"} ${call.name} ${call.given} ${call.result}`.toLowerCase();
      return words.every((word) => text.includes(word));
    });
    this.start = 0;
    this.fill();
  }

  turn(by) {
    this.start = Math.max(0, Math.min(this.start + by, Math.floor((this.shown.length - 1) / ON_A_PAGE) * ON_A_PAGE));
    this.fill();
  }

  fill() {
    const end = Math.min(this.start + ON_A_PAGE, this.shown.length);
    this.where.textContent = this.shown.length ? `${[this.start + 1, end].map((place) => place.toLocaleString("en")).join(" to ")} of ${this.shown.length.toLocaleString("en")}` : "no calls";
    this.back.disabled = this.start === 0;
    this.next.disabled = end >= this.shown.length;
    this.body.replaceChildren(...this.shown.slice(this.start, end).map((call) => this.row(call)));
  }

  row(call) {
    const kinds = [call.state ? "failed" : "", this.differences[call.number] ? "differs" : ""].join(" ").trim();
    const button = make("button", { type: "button", "aria-label": `Call ${call.number ?? "that was refused"}, ${call.name}` }, String(call.number ?? "–"));
    const row = make("tr", { class: kinds || null, "aria-selected": String(call === this.picked), onclick: () => this.onpick(call) },
      make("td", {}, button), make("td", {}, timeText(call.at)), make("td", {}, timeText(call.time)),
      make("td", {}, call.own ? timeText(call.own[1]) : ""),
      make("td", { class: "call-name" }, name(call.name)), make("td", {}, call.given), make("td", { class: "result" }, call.result));
    call.row = row;
    return row;
  }

  pick(call) {
    const before = this.picked;
    this.picked = call;
    if (!this.shown.includes(call)) {
      this.words.value = "";
      this.failed.checked = this.changed.checked = false;
      this.filter();
    }
    const place = this.shown.indexOf(call);
    if (place < this.start || place >= this.start + ON_A_PAGE) {
      this.start = Math.floor(place / ON_A_PAGE) * ON_A_PAGE;
      this.fill();
    }
    before?.row?.setAttribute("aria-selected", "false");
    call.row.setAttribute("aria-selected", "true");
  }

  key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const row = event.target.closest("tr"), place = this.shown.findIndex((call) => call.row === row && row.isConnected);
    const call = this.shown[place + by];
    if (!call) return;
    this.onpick(call);
    call.row.querySelector("button").focus();
  }
}

const COLUMNS = ["bytes", "min", "max", "mean", "nonfinite", "hash"];

function shownTensor(tensor) {
  const dims = tensor.dims ? `[${tensor.dims.join(", ")}]` : "[?]";
  return make("tr", {}, make("td", {}, tensor.role), make("td", {}, name(tensor.name ?? "")),
    make("td", {}, `${tensor.type ?? "?"}${dims}`),
    COLUMNS.map((key) => make("td", { class: key === "hash" ? "hash" : "number" }, tensor[key] === undefined || tensor[key] === null ? "" : String(tensor[key]))));
}

// What a call was given and gave.
function shownCall(call, differences) {
  const title = call.number === null ? `${call.name}, refused before it reached a graph` : `Call ${call.number}, ${call.name}`;
  const heads = ["", "name", "type", ...COLUMNS];
  return [
    make("h3", {}, name(title)),
    make("p", { class: "small quiet" }, `${timeText(call.time)}, at ${timeText(call.at)}${call.own ? `, after ${timeText(call.own[1])} of the guest's own` : ""}`),
    call.given ? make("p", {}, call.given) : null,
    call.result ? make("p", { class: call.state ? "error" : "" }, call.state ? call.result : `→ ${call.result}`) : null,
    differences ? make("ul", { class: "differences" }, differences.map((text) => make("li", {}, text))) : null,
    call.tensors.length
      ? make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Tensors of the call" },
        make("table", {}, make("thead", {}, make("tr", {}, heads.map((head) => make("th", { scope: "col", class: COLUMNS.includes(head) && head !== "hash" ? "number" : null }, head)))), make("tbody", {}, call.tensors.map(shownTensor))))
      : null,
  ];
}
