// The outputs of a model, shown as what they seem to be: classes, a picture, texts or numbers.

import { draw, field, make, name } from "./dom.js";
import { count, element } from "./figures.js";
import { layoutOf } from "./picture.js";
import { asNpy, decode } from "./tensors.js";

const MOST_SHOWN = 200;
const MOST_READ = 2 ** 22;
const CLASSES = 10;

let urls = [];
let labels = null;

export function showOutputs(place, outputs) {
  urls.forEach((url) => URL.revokeObjectURL(url));
  urls = [];
  place.replaceChildren(...outputs.map(show));
}

function show(output) {
  const { datatype, shape } = output;
  const parts = [make("header", { class: "row" },
    make("p", {}, make("strong", { class: "tensor-name" }, name(output.name)), " ", make("span", { class: "quiet small" }, `${datatype} [${shape.join(", ")}]`)),
    download(output))];
  if (datatype === "BYTES") parts.push(texts(decode(output, MOST_SHOWN), shape));
  else {
    const values = decode(output, MOST_READ);
    const text = datatype === "UINT8" && shape.length === 1 ? asText(output.bytes) : null;
    if (text !== null) parts.push(make("pre", {}, text));
    else if (isClasses(shape, values)) parts.push(classes(values));
    else if (isPicture(datatype, shape)) parts.push(picture(values, shape, datatype));
    if (text === null) parts.push(numbers(values, shape));
  }
  return make("section", { class: "output", "aria-label": `Output ${output.name}` }, parts);
}

function download(output) {
  const blob = output.datatype === "BYTES" ? null : asNpy(output);
  const url = URL.createObjectURL(blob ?? new Blob([output.bytes]));
  urls.push(url);
  const file = `${output.name.replace(/[^\w.-]+/g, "_").slice(0, 60) || "output"}${blob ? ".npy" : ".bin"}`;
  return make("a", { href: url, download: file, class: "small" }, `Save as ${blob ? "npy" : "bytes"}`);
}

function texts(strings, shape) {
  const more = shape.reduce((product, dim) => product * dim, 1) - strings.length;
  const lines = strings.map((bytes) => asText(bytes) ?? `${bytes.length} bytes that aren't UTF-8`);
  if (more > 0) lines.push(`… ${count(more)} more`);
  return make("pre", {}, lines.join("\n"));
}

// A text in UTF-8; null for other bytes.
function asText(bytes) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(0, 1e6));
    return /[\0-\x08\x0e-\x1f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

const isClasses = (shape, values) => values.length >= 2 && values.length <= 1e5 && typeof values[0] === "number" && shape.filter((dim) => dim !== 1).length === 1;

// The greatest numbers of a vector, with their names if there is a file of them.
function classes(values) {
  const bars = make("div", { class: "bars" });
  const fill = () => {
    const best = values.map((value, place) => [Number.isNaN(value) ? -Infinity : value, place]).sort(([a], [b]) => b - a).slice(0, CLASSES);
    const [least, most] = [Math.min(0, ...best.map(([value]) => value)), Math.max(...best.map(([value]) => value))];
    bars.replaceChildren(...best.map(([value, place]) => {
      const width = most > least && Number.isFinite(most - least) ? (100 * (value - least)) / (most - least) : 0;
      const bar = draw("svg", { viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" }, draw("rect", { width: Math.max(0, width), height: 8, rx: 1 }));
      return make("div", {}, make("span", { class: "label" }, labels?.[place] ?? `no. ${place}`), bar, make("span", { class: "number mono" }, element(values[place])));
    }));
  };
  const file = make("input", {
    type: "file", accept: "text/plain,.txt",
    onchange: async () => { labels = file.files[0] ? (await file.files[0].text()).split(/\r?\n/) : null; fill(); },
  });
  fill();
  return make("div", { class: "talk" }, bars,
    make("details", {}, make("summary", {}, "Names of the classes"), field("A text file with a name each line", file)));
}

const isPicture = (datatype, shape) => layoutOf(datatype, shape) !== null && shape.reduce((product, dim) => product * dim, 1) <= MOST_READ && shape.every((dim) => dim > 0);

function picture(values, shape, datatype) {
  const layout = layoutOf(datatype, shape);
  const dims = shape.slice(-3);
  const isLast = layout.endsWith("C");
  const [height, width] = isLast ? dims : dims.slice(1);
  const channels = isLast ? dims[2] : dims[0];
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const size = width * height;
  const image = new ImageData(width, height);
  for (let pixel = 0; pixel < size; pixel++) {
    for (let colour = 0; colour < 3; colour++) {
      const channel = Math.min(colour, channels - 1);
      const value = values[isLast ? pixel * channels + channel : channel * size + pixel];
      image.data[4 * pixel + colour] = most > least ? (255 * (value - least)) / (most - least) : 0;
    }
    image.data[4 * pixel + 3] = 255;
  }
  const canvas = make("canvas", { width, height, role: "img", "aria-label": `The output as a picture, ${width} by ${height}`, class: Math.max(width, height) < 100 ? "small-picture" : "" });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return make("div", {}, canvas);
}

function numbers(values, shape) {
  let [least, most, sum, finite] = [Infinity, -Infinity, 0, 0];
  for (const each of values) {
    const value = Number(each);
    if (!Number.isFinite(value)) continue;
    finite++;
    sum += value;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  const total = shape.reduce((product, dim) => product * dim, 1);
  const facts = finite ? `from ${element(least)} to ${element(most)}, mean ${element(sum / finite)}` : "no finite number";
  const strange = finite < values.length ? `, ${count(values.length - finite)} not finite` : "";
  const shown = values.slice(0, MOST_SHOWN).map(element).join("  ");
  const more = total > MOST_SHOWN ? `  … ${count(total - MOST_SHOWN)} more` : "";
  const text = make("pre", {}, shown + more);
  const about = make("p", { class: "quiet small" }, `${count(total)} ${total === 1 ? "number" : "numbers"} ${facts}${strange}`);
  return total <= 16 ? make("div", { class: "talk" }, about, text) : make("div", {}, about, make("details", {}, make("summary", {}, "The numbers"), text));
}
