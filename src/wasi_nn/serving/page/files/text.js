// A language model, to be tried: a conversation, a continuation, or embeddings of a text.

import { field, make } from "./dom.js";
import { count, digits, element, seconds } from "./figures.js";
import { ask, askJson, events, post } from "./server.js";

const CHAT = "chat";

export function showText(place, model) {
  let messages = [];
  let running = null;
  const modes = [[CHAT, "Conversation"], ["text", "Continue a text"]].map(([value, text]) => {
    const radio = make("input", { type: "radio", name: "mode", value, checked: value === CHAT, onchange: restart });
    return make("label", { class: "choice" }, radio, text);
  });
  const prompt = make("textarea", { required: true, onkeydown: sendByKey });
  const temperature = make("input", { type: "number", min: 0, max: 2, step: 0.1, placeholder: "as the graph says" });
  const tokens = make("input", { type: "number", min: 1, value: 200 });
  const log = make("div", { class: "talk", role: "log", "aria-live": "polite", "aria-label": "The text" });
  const send = make("button", { type: "submit" }, "Send");
  const stop = make("button", { type: "button", class: "second", disabled: true, onclick: () => running?.abort() }, "Stop");
  const again = make("button", { type: "button", class: "second", onclick: restart }, "Begin anew");
  const state = make("p", { class: "quiet small", role: "status" });
  const problem = make("p", { class: "error", role: "alert" });
  const form = make("form", { class: "talk", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    make("div", { class: "row", role: "radiogroup", "aria-label": "What to write" }, modes), log, problem,
    field("Prompt (Ctrl and Enter send it)", prompt),
    make("div", { class: "fields" }, field("Temperature", temperature), field("Most tokens", tokens)),
    make("div", { class: "row" }, send, stop, again, state));

  function isChat() {
    return form.elements.mode.value === CHAT;
  }

  function restart() {
    running?.abort();
    messages = [];
    log.replaceChildren();
    state.textContent = problem.textContent = "";
  }

  function sendByKey(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  }

  function say(who, text) {
    const said = make("div", { class: `said ${who}` }, text);
    log.append(said);
    return said;
  }

  async function submit() {
    const text = prompt.value;
    if (running || !text) return;
    problem.textContent = "";
    const chat = isChat();
    const asked = [...messages, { role: "user", content: text }];
    const wish = { model: model.name, stream: true, stream_options: { include_usage: true }, max_tokens: Number(tokens.value) || 200 };
    if (temperature.value !== "") wish.temperature = Number(temperature.value);
    Object.assign(wish, chat ? { messages: asked } : { prompt: text });
    if (!chat) log.replaceChildren();
    say("user", text);
    const answer = say("model", "");
    answer.setAttribute("aria-busy", "true");
    running = new AbortController();
    send.disabled = true;
    stop.disabled = false;
    state.textContent = "waiting for the first token";
    const began = performance.now();
    let first = null;
    let written = "";
    try {
      const settings = { ...post(wish), signal: running.signal };
      const response = await ask(chat ? "v1/chat/completions" : "v1/completions", settings);
      for await (const event of events(response)) {
        if (event.error) throw new Error(event.error.message);
        const part = event.choices[0]?.delta?.content ?? event.choices[0]?.text ?? "";
        if (part) {
          first ??= performance.now();
          written += part;
          answer.append(part);
          state.textContent = "writing";
        }
        if (event.usage) state.textContent = figures(event.usage, began, first);
      }
      if (chat) messages = [...asked, { role: "assistant", content: written }];
      prompt.value = chat ? "" : text;
    } catch (error) {
      if (error.name === "AbortError") state.textContent = "stopped";
      else {
        state.textContent = "";
        problem.textContent = error.message;
      }
      if (!written) answer.remove();
    } finally {
      answer.removeAttribute("aria-busy");
      running = null;
      send.disabled = false;
      stop.disabled = true;
    }
  }

  place.replaceChildren(form);
}

function figures({ prompt_tokens: read, completion_tokens: tokens }, began, first) {
  const now = performance.now();
  const facts = [`${count(read)} tokens read`, `${count(tokens)} written`];
  if (first !== null) {
    facts.push(`the first after ${seconds((first - began) / 1000)}`);
    if (tokens > 1 && now > first) facts.push(`then ${digits((1000 * (tokens - 1)) / (now - first))} a second`);
  }
  return facts.join(", ");
}

export function showEmbeddings(place, model) {
  const text = make("textarea", { required: true });
  const problem = make("p", { class: "error", role: "alert" });
  const result = make("div", { role: "status" });
  async function submit() {
    problem.textContent = "";
    try {
      const { data, usage } = await askJson("v1/embeddings", post({ model: model.name, input: text.value }));
      const vector = data[0].embedding;
      result.replaceChildren(
        make("p", { class: "quiet small" }, `${count(vector.length)} numbers, of ${count(usage.prompt_tokens)} tokens`),
        make("pre", {}, vector.slice(0, 64).map(element).join("  ") + (vector.length > 64 ? "  …" : "")));
    } catch (error) {
      result.replaceChildren();
      problem.textContent = error.message;
    }
  }
  place.replaceChildren(make("form", { class: "talk", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    field("Text", text), make("div", { class: "row" }, make("button", { type: "submit" }, "Embed")), problem, result));
}
