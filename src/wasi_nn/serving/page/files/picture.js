// A picture as a tensor: resized and normalised as the person who looks at it says.

import { field, make, select } from "./dom.js";
import { Mistake, encodeNumbers, isFloat } from "./tensors.js";

const LAYOUTS = {
  NCHW: { channels: 1, height: 2, width: 3, rank: 4, text: "NCHW: colours first" },
  NHWC: { channels: 3, height: 1, width: 2, rank: 4, text: "NHWC: colours last" },
  CHW: { channels: 0, height: 1, width: 2, rank: 3, text: "CHW: colours first" },
  HWC: { channels: 2, height: 0, width: 1, rank: 3, text: "HWC: colours last" },
};

const SCALES = [
  ["unit", "0 to 1"],
  ["raw", "0 to 255, as they are"],
  ["signed", "−1 to 1"],
  ["imagenet", "ImageNet's mean, deviation"],
  ["own", "own mean and deviation"],
];

const IMAGENET = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
const USUAL = 224;
const MOST_SIDE = 4096;

// The layout that fits a declared shape, or null: a picture has one or three channels, and at least two dims of size.
export function layoutOf(datatype, shape) {
  if (!isFloat(datatype) && datatype !== "UINT8" && datatype !== "INT8") return null;
  const fits = Object.entries(LAYOUTS).filter(([, layout]) => {
    const [channels, height, width] = [shape[layout.channels], shape[layout.height], shape[layout.width]];
    return shape.length === layout.rank && [1, 3, -1].includes(channels) && isSide(height) && isSide(width);
  });
  const sure = fits.find(([, layout]) => shape[layout.channels] !== -1);
  return (sure ?? fits[0])?.[0] ?? null;
}

const isSide = (dim) => dim === -1 || (dim > 3 && dim <= MOST_SIDE);

export class PictureInput {
  constructor(datatype, shape) {
    this.datatype = datatype;
    this.shape = shape;
    const layout = layoutOf(datatype, shape);
    const options = Object.entries(LAYOUTS).filter(([, each]) => each.rank === shape.length).map(([key, each]) => [key, each.text]);
    const update = () => this.look(); // while it is typed: a form that moves under the pointer loses its click
    this.file = make("input", { type: "file", accept: "image/*", onchange: () => this.open() });
    this.layout = select(options, layout, update);
    this.width = make("input", { type: "number", min: 1, max: MOST_SIDE, value: this.given("width"), oninput: update });
    this.height = make("input", { type: "number", min: 1, max: MOST_SIDE, value: this.given("height"), oninput: update });
    this.fit = select([["cut", "cut to fill"], ["stretch", "stretch"], ["pad", "keep all, black borders"]], "cut", update);
    this.order = select([["RGB", "red, green, blue"], ["BGR", "blue, green, red"], ["grey", "grey"]], this.given("channels") === 1 ? "grey" : "RGB", update);
    this.scale = select(SCALES, isFloat(datatype) ? "unit" : "raw", () => { this.own.hidden = this.scale.value !== "own"; update(); });
    this.mean = make("input", { value: "127.5", oninput: update });
    this.deviation = make("input", { value: "127.5", oninput: update });
    this.own = make("div", { class: "fields", hidden: true },
      field("Mean, of 0 to 255 (one, or one for each colour)", this.mean), field("Deviation", this.deviation));
    this.canvas = make("canvas", { width: 1, height: 1, role: "img", "aria-label": "No picture yet", hidden: true });
    this.problem = make("p", { class: "error", role: "alert" });
    this.element = make("div", { class: "talk" },
      make("div", { class: "fields" }, field("Picture", this.file, true), field("Layout", this.layout), field("Width", this.width),
        field("Height", this.height), field("Resizing", this.fit), field("Colours", this.order), field("Numbers", this.scale)),
      this.own, this.problem, make("div", { class: "picture" }, this.canvas));
  }

  given(part) {
    const layout = LAYOUTS[this.layout?.value ?? layoutOf(this.datatype, this.shape)];
    const dim = this.shape[layout[part]];
    if (part === "channels") return dim;
    return dim > 0 ? dim : USUAL;
  }

  async open() {
    this.problem.textContent = "";
    this.bitmap?.close();
    this.bitmap = null;
    const [file] = this.file.files;
    if (file) {
      try {
        this.bitmap = await createImageBitmap(file);
      } catch {
        this.problem.textContent = "The browser can't read this file as a picture.";
      }
    }
    this.look(this.problem.textContent);
  }

  // Show the picture, or what is wrong.
  look(problem = "") {
    this.problem.textContent = problem;
    try {
      this.preview();
    } catch (error) {
      if (!(error instanceof Mistake)) throw error;
      this.problem.textContent = error.message;
    }
  }

  // The picture in its new size, on the canvas; its pixels.
  preview() {
    this.canvas.hidden = !this.bitmap;
    if (!this.bitmap) return null;
    const [width, height] = [this.side(this.width), this.side(this.height)];
    Object.assign(this.canvas, { width, height });
    this.canvas.className = Math.max(width, height) < 100 ? "small-picture" : "";
    const about = `The picture as the model gets it, ${width} by ${height}`;
    this.canvas.setAttribute("aria-label", about);
    const context = this.canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingQuality = "high";
    const { width: w, height: h } = this.bitmap;
    const [across, down] = [width / w, height / h];
    const factor = this.fit.value === "cut" ? Math.max(across, down) : Math.min(across, down);
    const [x, y] = this.fit.value === "stretch" ? [width, height] : [w * factor, h * factor];
    context.fillStyle = "#000";
    context.fillRect(0, 0, width, height);
    context.drawImage(this.bitmap, (width - x) / 2, (height - y) / 2, x, y);
    return context.getImageData(0, 0, width, height);
  }

  side(input) {
    const side = Number(input.value);
    if (!(Number.isInteger(side) && side >= 1 && side <= MOST_SIDE)) throw new Mistake(`A picture is 1 to ${MOST_SIDE} pixels wide and high.`);
    return side;
  }

  tensor() {
    const pixels = this.preview();
    if (!pixels) throw new Mistake("Choose a picture first.");
    const { width, height, data } = pixels;
    const layout = LAYOUTS[this.layout.value];
    const planes = this.order.value === "grey" ? [null] : this.order.value === "RGB" ? [0, 1, 2] : [2, 1, 0];
    const channels = planes.length;
    const declared = this.shape[layout.channels];
    if (declared !== -1 && declared !== channels) throw new Mistake(`The model takes ${declared} channel(s), and these colours are ${channels}.`);
    const shape = new Array(layout.rank).fill(1);
    Object.assign(shape, { [layout.channels]: channels, [layout.height]: height, [layout.width]: width });
    const isLast = layout.channels === layout.rank - 1;
    const values = new Float32Array(width * height * channels);
    planes.forEach((plane, channel) => {
      const { mean, deviation } = this.normalisation(plane ?? channel);
      for (let pixel = 0; pixel < width * height; pixel++) {
        const at = 4 * pixel;
        const value = plane === null ? 0.299 * data[at] + 0.587 * data[at + 1] + 0.114 * data[at + 2] : data[at + plane];
        values[isLast ? pixel * channels + channel : channel * width * height + pixel] = (value - mean) / deviation;
      }
    });
    return { datatype: this.datatype, shape, bytes: encodeNumbers(this.datatype, values) };
  }

  normalisation(colour) {
    switch (this.scale.value) {
      case "unit": return { mean: 0, deviation: 255 };
      case "signed": return { mean: 127.5, deviation: 127.5 };
      case "imagenet": return { mean: 255 * IMAGENET.mean[colour], deviation: 255 * IMAGENET.deviation[colour] };
      case "own": return { mean: own(this.mean.value, colour), deviation: own(this.deviation.value, colour) || 1 };
      default: return { mean: 0, deviation: 1 };
    }
  }
}

function own(text, colour) {
  const numbers = text.split(/[\s,;]+/).filter(Boolean).map(Number);
  if (!numbers.length || numbers.some(Number.isNaN)) throw new Mistake("Mean and deviation are a number, or three.");
  return numbers[Math.min(colour, numbers.length - 1)];
}
