// Charts of the last minutes: lines over time, drawn as SVG.

import { draw, make } from "./dom.js";
import { duration } from "./figures.js";

const WIDTH = 300;
const HEIGHT = 72;
const MOMENTS = 150;

export class Chart {
  // `series`: for each line its name in the data, its label, and its class. `text` writes a value.
  constructor(title, series, text, { least = 0 } = {}) {
    this.title = title;
    this.series = series;
    this.text = text;
    this.least = least;
    this.scale = make("span", {});
    this.value = make("p", { class: "value" });
    this.legend = make("p", { class: "legend" });
    this.svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.point(null));
    this.element = make("figure", {}, make("figcaption", {}, make("span", {}, title), this.scale), this.value, this.svg, this.legend);
    this.at = null;
  }

  show(moments, every, headline) {
    this.moments = moments;
    this.every = every;
    this.headline = headline;
    this.render();
  }

  point(event) {
    if (!this.moments) return;
    if (event === null) this.at = null;
    else {
      const box = this.svg.getBoundingClientRect();
      const place = Math.round(((event.clientX - box.left) / box.width) * (MOMENTS - 1)) - (MOMENTS - this.length);
      this.at = place >= 0 && place < this.length ? place : null;
    }
    this.render();
  }

  get length() {
    return this.moments[this.series[0].key].length;
  }

  render() {
    const columns = this.series.map(({ key }) => this.moments[key]);
    const most = Math.max(this.least, ...columns.flat().filter((value) => value !== null));
    const x = (place) => ((MOMENTS - this.length + place) / (MOMENTS - 1)) * WIDTH;
    const y = (value) => HEIGHT - 2 - (most ? value / most : 0) * (HEIGHT - 6);
    const parts = [draw("line", { class: "base", x1: 0, x2: WIDTH, y1: HEIGHT - 1, y2: HEIGHT - 1 })];
    this.series.forEach(({ kind, filled }, number) => {
      const line = path(columns[number], x, y);
      if (filled && this.length > 1) {
        const area = `${line}L${x(this.length - 1).toFixed(1)} ${HEIGHT}L${x(0).toFixed(1)} ${HEIGHT}Z`;
        parts.push(draw("path", { class: `area ${kind}`, d: area }));
      }
      parts.push(draw("path", { class: `line ${kind}`, d: line }));
    });
    if (this.at !== null) parts.push(draw("line", { class: "at", x1: x(this.at), x2: x(this.at), y1: 0, y2: HEIGHT }));
    this.svg.replaceChildren(...parts);
    const place = this.at ?? this.length - 1;
    const values = columns.map((column) => (place < 0 ? null : column[place]));
    this.value.replaceChildren(...this.headline);
    this.scale.textContent = most > this.least || most > 0 ? `to ${this.text(most)}` : "";
    const ago = this.at === null ? "" : `${duration((this.length - 1 - place) * this.every)} ago`;
    this.legend.replaceChildren(
      ...this.series.map(({ label, kind }, number) => make("span", { class: kind }, `${label} ${this.text(values[number])}`)),
      ago,
    );
    const facts = this.series.map(({ label }, number) => `${label} ${this.text(values[number])}`);
    this.svg.setAttribute("aria-label", `${this.title} over the last five minutes, at most ${this.text(most)}; now ${facts.join(", ")}`);
  }
}

// A line through the values; where there is none, the line has a gap. A value alone is a dot.
function path(values, x, y) {
  let line = "";
  let isOpen = false;
  values.forEach((value, place) => {
    if (value === null) {
      isOpen = false;
      return;
    }
    const point = `${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
    line += isOpen ? `L${point}` : `M${point}L${point}`;
    isOpen = true;
  });
  return line;
}
