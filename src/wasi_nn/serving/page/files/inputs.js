// The form for one input of a model.

import { field, make, name, select } from "./dom.js";
import { PictureInput, layoutOf } from "./picture.js";
import { Mistake, NUMBERS, elementsOf, encodeNumbers, encodeStrings, parseNumbers, parseShape } from "./tensors.js";

const MOST_PREFILLED = 64;

export function shapeText(shape) {
  return shape.length ? `[${shape.map((dim) => (dim === -1 ? "?" : dim)).join(", ")}]` : "a single value";
}

export class Input {
  constructor({ name: inputName, datatype, shape }, isOptional) {
    this.name = inputName;
    this.declared = shape;
    this.isOptional = isOptional;
    this.isOpen = shape.includes(-1);
    this.datatype = select(datatype === "UNKNOWN" ? [...NUMBERS, "BYTES"].map((each) => [each, each]) : [[datatype, datatype]], "FP32", () => this.refill());
    this.fill = select([], "", () => this.showFill());
    this.shape = make("input", { value: shape.map((dim) => (dim === -1 ? 1 : dim)).join(", "), readonly: !this.isOpen, inputmode: "numeric" });
    this.body = make("div", {});
    const typed = datatype === "UNKNOWN" ? field("Type", this.datatype) : null;
    this.shapeField = field("Shape", this.shape);
    this.element = make("fieldset", {},
      make("legend", {}, make("span", { class: "tensor-name" }, name(inputName)), " ",
        make("span", { class: "quiet" }, `${datatype === "UNKNOWN" ? "any type" : datatype} ${shapeText(shape)}${isOptional ? ", optional" : ""}`)),
      make("div", { class: "fields" }, field("Fill with", this.fill), typed, this.shapeField), this.body);
    this.refill();
  }

  // The ways to fill this input.
  refill() {
    const type = this.datatype.value;
    const isLine = this.declared.length === 1;
    const ways = type === "BYTES"
      ? [["lines", "text, a string each line"], ["text", "one text"], ["file", "a file, as one string"]]
      : [
        ...(layoutOf(type, this.declared) ? [["picture", "a picture"]] : []),
        ...(type === "UINT8" && isLine && this.isOpen ? [["text", "text, in UTF-8"]] : []),
        ["numbers", "numbers"], ["zeros", "zeros"], ["ones", "ones"], ["random", "random numbers"], ["file", "a file of raw numbers"],
      ];
    if (this.isOptional) ways.unshift(["none", "nothing: leave it out"]);
    this.fill.replaceChildren(...ways.map(([value, text]) => make("option", { value }, text)));
    this.fill.value = ways[0][0];
    this.showFill();
  }

  showFill() {
    const way = this.fill.value;
    this.picture = way === "picture" ? new PictureInput(this.datatype.value, this.declared) : null;
    const isText = this.datatype.value === "BYTES" || way === "text";
    this.shapeField.hidden = ["picture", "none"].includes(way) || (isText && way !== "lines") || (way === "lines" && this.declared.length === 1);
    this.box = null;
    if (way === "picture") this.body.replaceChildren(this.picture.element);
    else if (way === "file") this.show("File", make("input", { type: "file" }));
    else if (way === "text") this.show("Text", make("textarea", {}));
    else if (way === "lines") this.show("Strings", make("textarea", {}));
    else if (way === "numbers") this.show("Numbers, row by row", make("textarea", { class: "numbers", spellcheck: "false" }, this.example()));
    else this.body.replaceChildren();
  }

  show(label, box) {
    this.box = box;
    this.body.replaceChildren(field(label, box));
  }

  example() {
    const elements = this.declared.reduce((product, dim) => product * (dim === -1 ? 1 : dim), 1);
    return elements <= MOST_PREFILLED ? new Array(elements).fill("0").join(" ") : "";
  }

  // The tensor, or null if it is left out. Throws `Mistake`.
  async tensor() {
    try {
      const tensor = await this.filled();
      return tensor && { name: this.name, ...tensor };
    } catch (error) {
      if (error instanceof Mistake) throw new Mistake(`Input “${this.name}”: ${error.message}`);
      throw error;
    }
  }

  async filled() {
    const datatype = this.datatype.value;
    const way = this.fill.value;
    if (way === "none") return null;
    if (way === "picture") return this.picture.tensor();
    if (way === "text" && datatype !== "BYTES") {
      const bytes = new TextEncoder().encode(this.box.value);
      return { datatype, shape: [bytes.length], bytes };
    }
    if (datatype === "BYTES") return this.strings(way);
    const shape = parseShape(this.shape.value);
    const elements = elementsOf(shape);
    if (way === "file") {
      const bytes = await this.fileBytes();
      return { datatype, shape, bytes };
    }
    const values = way === "numbers" ? parseNumbers(datatype, this.box.value) : Array.from({ length: elements }, value(datatype, way));
    if (values.length !== elements) throw new Mistake(`the shape [${shape.join(", ")}] has ${elements} numbers, and here are ${values.length}.`);
    return { datatype, shape, bytes: encodeNumbers(datatype, values) };
  }

  async strings(way) {
    const strings = way === "file" ? [await this.fileBytes()] : way === "text" ? [this.box.value] : this.box.value.split("\n");
    if (way === "lines" && strings.length > 1 && strings.at(-1) === "") strings.pop();
    let shape = this.declared.length === 1 ? [strings.length] : this.declared.map(() => 1);
    if (way === "lines" && this.declared.length !== 1) shape = parseShape(this.shape.value);
    if (elementsOf(shape) !== strings.length) throw new Mistake(`the shape [${shape.join(", ")}] has ${elementsOf(shape)} strings, and here are ${strings.length}.`);
    return { datatype: "BYTES", shape, bytes: encodeStrings(strings) };
  }

  async fileBytes() {
    const [file] = this.box.files;
    if (!file) throw new Mistake("choose a file first.");
    return new Uint8Array(await file.arrayBuffer());
  }
}

function value(datatype, way) {
  if (way === "zeros") return () => 0;
  if (way === "ones") return () => 1;
  const most = { BOOL: 2, INT8: 128 }[datatype] ?? 256;
  if (datatype.startsWith("FP") || datatype === "BF16") return () => Math.random();
  return () => Math.floor(Math.random() * most);
}
