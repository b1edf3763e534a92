// A model of tensors, to be tried.

import { make, name } from "./dom.js";
import { seconds } from "./figures.js";
import { Input, shapeText } from "./inputs.js";
import { showOutputs } from "./outputs.js";
import { askJson, modelPath } from "./server.js";
import { Mistake, infer } from "./tensors.js";

const MOST_TENSORS = 64;

export async function showTensors(place, model) {
  const [about, config] = await Promise.all([askJson(modelPath(model.name)), askJson(`${modelPath(model.name)}/config`)]);
  const optional = new Set(config.input.filter((input) => input.optional).map((input) => input.name));
  const inputs = about.inputs.slice(0, MOST_TENSORS).map((input) => new Input(input, optional.has(input.name)));
  const run = make("button", { type: "submit" }, "Run");
  const state = make("p", { class: "quiet", role: "status" });
  const problem = make("p", { class: "error", role: "alert" });
  const outputs = make("div", { class: "talk" });
  const form = make("form", { class: "talk", novalidate: true, onsubmit: (event) => { event.preventDefault(); submit(); } },
    inputs.map(({ element }) => element), make("div", { class: "row" }, run, state), problem);

  async function submit() {
    problem.textContent = "";
    state.textContent = "running";
    run.disabled = true;
    outputs.setAttribute("aria-busy", "true");
    try {
      const tensors = (await Promise.all(inputs.map((input) => input.tensor()))).filter(Boolean);
      const began = performance.now();
      const answer = await infer(model.name, tensors);
      state.textContent = `answered in ${seconds((performance.now() - began) / 1000)}`;
      showOutputs(outputs, answer.outputs);
    } catch (error) {
      state.textContent = "";
      outputs.replaceChildren();
      problem.textContent = error instanceof Mistake || error.status !== undefined ? error.message : `The page failed: ${error.message}`;
    } finally {
      run.disabled = false;
      outputs.removeAttribute("aria-busy");
    }
  }

  const table = about.outputs.slice(0, MOST_TENSORS).map(({ name: output, datatype, shape }) =>
    make("li", {}, make("span", { class: "tensor-name" }, name(output)), " ", make("span", { class: "quiet" }, `${datatype === "UNKNOWN" ? "any type" : datatype} ${shapeText(shape)}`)));
  const declared = make("details", {}, make("summary", {}, `${about.outputs.length} ${about.outputs.length === 1 ? "output" : "outputs"}`), make("ul", {}, table));
  place.replaceChildren(form, declared, outputs);
}
