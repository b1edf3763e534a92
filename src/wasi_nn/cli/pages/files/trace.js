// The page of a trace.

const data = JSON.parse(byId("data").textContent);
const GUEST_ROW = 0;

function readCalls() {
  return data.calls.map(([number, run, row, name, began, time, own, given, result, state, tensors]) =>
    ({ number, run, row, name, began, time, own, given, result, state, tensors }));
}

// The lanes of the timeline, and the spans on them.
function readLanes(calls) {
  const names = new Map(data.rows.map(([run, row, text]) => [`${run} ${row}`, text]));
  const several = data.runs.length > 1, lanes = [], places = new Map();
  const place = (run, row) => {
    const key = `${run} ${row}`;
    if (!places.has(key)) places.set(key, { run, row, text: names.get(key) ?? (row === GUEST_ROW ? "guest" : `row ${row}`) });
    return places.get(key);
  };
  for (const run of data.runs) if (run.spans.length) place(run.run, GUEST_ROW);
  for (const call of calls) {
    place(call.run, call.row);
    if (call.own) place(call.run, GUEST_ROW);
  }
  lanes.push(...[...places.values()].sort((a, b) => a.run - b.run || a.row - b.row));
  lanes.forEach((lane, index) => { lane.index = index; });
  const spans = [];
  for (const run of data.runs) {
    for (const [text, began, time] of run.spans) {
      spans.push({ lane: place(run.run, GUEST_ROW).index, began, time, text, label: several ? `run ${run.run}, ${text}` : text, kind: text === "run" ? "run" : "phase" });
    }
  }
  spans.sort((a, b) => (a.kind === "run" ? 0 : 1) - (b.kind === "run" ? 0 : 1));
  for (const call of calls) {
    if (call.own) {
      spans.push({ lane: place(call.run, GUEST_ROW).index, began: call.own[0], time: call.own[1], text: "guest", label: "the guest's own time", kind: "own" });
    }
    const kind = call.state ? "failed" : data.differences[call.number] ? "differs" : "call";
    call.span = { lane: place(call.run, call.row).index, began: call.began, time: call.time, text: call.name, label: `call ${call.number ?? "refused"}, ${call.name}`, kind, call };
    spans.push(call.span);
  }
  return { lanes: lanes.slice(0, MOST_LANES), hidden: lanes.length - MOST_LANES, spans: spans.filter((span) => span.lane < MOST_LANES) };
}

function fact(term, text) {
  return make("div", {}, make("dt", {}, term), make("dd", {}, text));
}

function shownRun(run) {
  const phases = Object.entries(run.phases_us).map(([phase, time]) =>
    fact(phase === "compile" && run.about.cached === true ? "read from the cache" : phase, timeText(time)));
  return make("div", {}, make("h3", {}, data.runs.length > 1 ? `${run.run}. ` : "", name(run.title)),
    make("dl", { class: "facts" }, fact("calls", `${run.calls.toLocaleString("en")} in ${timeText(run.call_us)}`),
      run.failed ? fact("failed", run.failed.toLocaleString("en")) : null,
      run.guest_us ? fact("guest's own time", timeText(run.guest_us)) : null, phases,
      "exit_code" in run.about ? fact("exit code", String(run.about.exit_code)) : null),
    "error" in run.about ? make("p", { class: "error" }, run.about.error) : null);
}

function shownOutcome(calls) {
  if (!data.kind) return [];
  const numbers = Object.keys(data.differences).map(Number).sort((a, b) => a - b);
  const none = !numbers.length && !data.others.length;
  const intro = data.kind === "replay" ? "The calls were made again." : `A is this trace, B is ${data.other}.`;
  const first = calls.find((call) => call.number === numbers[0]);
  return [
    make("section", { "aria-label": "Differences" }, make("h2", {}, "Differences"),
      make("div", { class: none ? "note right" : "note wrong" }, make("p", {}, `${intro} ${data.outcome}`.trim()),
        none ? make("p", {}, "Nothing differs.") : null,
        first ? make("p", {}, "The first call that differs: ", make("a", { href: "#call", onclick: () => pick(first) }, `${first.number}, ${first.name}`), ".") : null,
        data.others.length ? make("ul", { class: "differences" }, data.others.map((text) => make("li", {}, text))) : null)),
  ];
}

const calls = readCalls();
const { lanes, hidden, spans } = readLanes(calls);
const start = spans.reduce((least, span) => Math.min(least, span.began), Infinity);
for (const call of calls) call.at = call.began - (Number.isFinite(start) ? start : 0);
const detail = make("div", { class: "panel detail", id: "call", tabindex: -1 }, make("p", { class: "quiet" }, "Choose a call in the table or on the timeline."));
const table = new Calls(calls, data.differences, pick);
const timeline = spans.length ? new Timeline(lanes, spans, pick) : null;

function pick(call) {
  table.pick(call);
  timeline?.pick(call.span);
  detail.replaceChildren(...shownCall(call, data.differences[call.number]).filter((part) => part));
}

function tool(text, label, action) {
  return make("button", { class: "second", type: "button", "aria-label": label, onclick: action }, text);
}

function shownTimeline() {
  if (!timeline) return null;
  const legend = make("ol", { class: "small quiet", id: "lanes" }, lanes.map((lane) => make("li", {}, name(data.runs.length > 1 ? `run ${lane.run}: ${lane.text}` : lane.text))));
  return make("section", { "aria-labelledby": "timeline-title" }, make("h2", { id: "timeline-title" }, "Timeline"),
    make("div", { class: "tools" }, tool("−", "Zoom out", () => timeline.zoom(2)), tool("+", "Zoom in", () => timeline.zoom(0.5)),
      tool("←", "Earlier", () => timeline.move(-0.3)), tool("→", "Later", () => timeline.move(0.3)), tool("All", "Show all", () => timeline.all())),
    make("div", { class: "panel timeline" }, make("div", { class: "lanes" }, timeline.canvas)), timeline.under,
    hidden > 0 ? make("p", { class: "small quiet" }, `${hidden} more rows aren't shown here.`) : null,
    make("details", { open: lanes.length <= 12 }, make("summary", {}, "Rows, from the top"), legend));
}

byId("content").replaceChildren(...[
  ...data.notes.map((text) => make("p", { class: "note" }, text)),
  ...shownOutcome(calls),
  make("section", { "aria-labelledby": "runs-title" }, make("h2", { id: "runs-title" }, data.runs.length === 1 ? "Run" : "Runs"),
    make("div", { class: "sums" }, data.runs.slice(0, 20).map(shownRun)),
    data.runs.length > 20 ? make("details", {}, make("summary", {}, `${data.runs.length - 20} more`), make("div", { class: "sums" }, data.runs.slice(20).map(shownRun))) : null),
  shownTimeline(),
  make("section", { "aria-labelledby": "call-title" }, make("h2", { id: "call-title" }, "The call"), detail),
  make("section", { "aria-labelledby": "calls-title" }, make("h2", { id: "calls-title" }, "Calls"), ...table.elements()),
].filter((part) => part));
