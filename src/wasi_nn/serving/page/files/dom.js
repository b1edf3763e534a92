// Elements, made of text only: nothing that the server says becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") element.toggleAttribute(name, value);
    else if (value !== undefined && value !== null) element.setAttribute(name, String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export function make(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function draw(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// A name of a model's, which may have any characters, also those that turn the direction of text.
export function name(text) {
  return make("bdi", {}, text === "" ? "(no name)" : text);
}

let labels = 0;

// A form's element with its label.
export function field(label, element, wide = false) {
  element.id ||= `field-${++labels}`;
  return make("div", { class: wide ? "field wide" : "field" }, make("label", { for: element.id }, label), element);
}

export function select(options, chosen, onchange) {
  const element = make("select", { onchange });
  for (const [value, text] of options) element.append(make("option", { value, selected: value === chosen }, text));
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}
