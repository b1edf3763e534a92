// The timeline: a row for each guest, for the calls on graphs and for each execution context.

const LANE = 26, SCALE = 24, LABEL = 12, MOST_LANES = 200;

class Timeline {
  constructor(lanes, spans, onpick) {
    this.lanes = lanes;
    this.spans = spans;
    this.onpick = onpick;
    this.picked = null;
    const ends = spans.map((span) => span.began + span.time);
    this.first = spans.reduce((least, span) => Math.min(least, span.began), Infinity);
    this.last = ends.reduce((most, end) => Math.max(most, end), -Infinity);
    if (!(this.last > this.first)) this.last = this.first + 1;
    this.canvas = make("canvas", {
      tabindex: 0, role: "img",
      "aria-label": "Timeline of the calls. Left and right move it, plus and minus zoom, 0 shows all. The table below has the same calls.",
      onkeydown: (event) => this.key(event),
      onpointermove: (event) => this.hover(event),
      onpointerdown: (event) => this.press(event),
      onpointerup: (event) => this.release(event),
      onpointerleave: () => this.tell(null),
    });
    this.canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.under = make("p", { class: "under quiet small", "aria-live": "off" });
    this.all();
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  all() {
    const room = (this.last - this.first) * 0.01;
    this.show(this.first - room, this.last + room);
  }

  show(from, to) {
    const whole = (this.last - this.first) * 1.02;
    const width = Math.min(Math.max(to - from, whole / 1e7, 1e-3), whole);
    const low = this.first - whole * 0.01, high = this.last + whole * 0.01;
    this.from = Math.max(low, Math.min(from, high - width));
    this.to = this.from + width;
    this.draw();
  }

  zoom(factor, at = (this.from + this.to) / 2) {
    this.show(at - (at - this.from) * factor, at + (this.to - at) * factor);
  }

  move(part) {
    const width = this.to - this.from;
    this.show(this.from + part * width, this.to + part * width);
  }

  pick(span) {
    this.picked = span;
    if (span && (span.began > this.to || span.began + span.time < this.from)) {
      const width = this.to - this.from;
      this.show(span.began - width / 2, span.began + width / 2);
    }
    this.draw();
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions = {
      ArrowLeft: () => this.move(-0.2), ArrowRight: () => this.move(0.2),
      "+": () => this.zoom(0.5), "=": () => this.zoom(0.5), "-": () => this.zoom(2), 0: () => this.all(),
    };
    if (!actions[event.key]) return;
    actions[event.key]();
    event.preventDefault();
  }

  wheel(event) {
    if (!event.ctrlKey && Math.abs(event.deltaX) <= Math.abs(event.deltaY)) return;
    event.preventDefault();
    if (event.ctrlKey) this.zoom(Math.exp(event.deltaY / 200), this.time(event));
    else this.move(event.deltaX / 800);
  }

  time(event) {
    return this.from + (event.offsetX / this.canvas.clientWidth) * (this.to - this.from);
  }

  at(event) {
    const lane = Math.floor((event.offsetY - SCALE) / LANE), width = this.canvas.clientWidth;
    const x = (moment) => ((moment - this.from) / (this.to - this.from)) * width;
    let nearest = null, least = 4;
    for (const span of this.spans) {
      if (span.lane !== lane) continue;
      const left = x(span.began), right = Math.max(x(span.began + span.time), left + 1);
      const distance = event.offsetX < left ? left - event.offsetX : Math.max(0, event.offsetX - right);
      if (distance < least || (distance === least && nearest && span.time < nearest.time)) {
        [nearest, least] = [span, distance];
      }
    }
    return nearest;
  }

  press(event) {
    this.pressed = { x: event.offsetX, from: this.from, moved: false };
    this.canvas.setPointerCapture(event.pointerId);
  }

  release(event) {
    const pressed = this.pressed;
    this.pressed = null;
    if (pressed && !pressed.moved) {
      const span = this.at(event);
      if (span?.call) this.onpick(span.call);
    }
  }

  hover(event) {
    if (this.pressed) {
      const moved = event.offsetX - this.pressed.x;
      if (Math.abs(moved) > 3) this.pressed.moved = true;
      if (this.pressed.moved) {
        const width = this.to - this.from, start = this.pressed.from - (moved / this.canvas.clientWidth) * width;
        this.show(start, start + width);
      }
      return;
    }
    this.tell(this.at(event));
  }

  tell(span) {
    this.under.textContent = span ? `${span.label}: ${timeText(span.time)}, at ${timeText(span.began - this.first)}` : "";
  }

  draw() {
    const canvas = this.canvas, width = canvas.clientWidth, height = SCALE + LANE * this.lanes.length;
    if (!width) return;
    const sharp = devicePixelRatio || 1;
    canvas.height = Math.round(height * sharp);
    canvas.width = Math.round(width * sharp);
    canvas.style.height = `${height}px`;
    const pen = canvas.getContext("2d"), style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(`--${name}`).trim();
    pen.scale(sharp, sharp);
    pen.font = `${LABEL}px system-ui, "DejaVu Sans", sans-serif`;
    pen.textBaseline = "middle";
    const x = (moment) => ((moment - this.from) / (this.to - this.from)) * width;
    this.drawScale(pen, x, width, height, colour);
    const drawn = new Map();
    for (const span of this.spans) {
      const left = x(span.began), right = x(span.began + span.time);
      if (right < 0 || left > width) continue;
      const top = SCALE + span.lane * LANE + 3, size = Math.max(1, right - left);
      const spot = `${span.lane} ${span.kind}`;
      if (size < 1.5 && drawn.get(spot) === Math.round(left)) continue;  // a pixel that is filled already
      drawn.set(spot, Math.round(left));
      const deep = span.kind === "run" ? 4 : span.kind === "own" ? 4 : 0;
      pen.fillStyle = colour({ run: "line", phase: "two", own: "good", call: "one", failed: "bad", differs: "busy" }[span.kind]);
      pen.fillRect(left, top + (span.kind === "own" ? 3 : 0), size, LANE - 6 - (span.kind === "own" ? 6 : 0));
      if (span === this.picked) {
        pen.strokeStyle = colour("text");
        pen.lineWidth = 2;
        pen.strokeRect(left - 1, top - 1, size + 2, LANE - 4);
      }
      const shown = Math.min(right, width) - Math.max(left, 0);
      const text = span.text, taken = pen.measureText(text).width + 8 + deep;
      if (text && shown > taken && span.kind !== "own" && span.kind !== "run") {
        pen.fillStyle = colour("on-accent");
        pen.fillText(text, Math.max(left, 0) + 4, top + (LANE - 6) / 2);
      }
    }
  }

  drawScale(pen, x, width, height, colour) {
    const step = stepFor(this.to - this.from, Math.max(2, width / 110));
    pen.lineWidth = 1;
    for (let mark = Math.ceil((this.from - this.first) / step) * step; this.first + mark < this.to; mark += step) {
      const at = Math.round(x(this.first + mark)) + 0.5;
      pen.strokeStyle = colour("line");
      pen.beginPath();
      pen.moveTo(at, SCALE - 6);
      pen.lineTo(at, height);
      pen.stroke();
      pen.fillStyle = colour("quiet");
      const text = timeText(Math.abs(mark) < step / 2 ? 0 : mark);
      pen.fillText(text, Math.max(2, Math.min(at + 3, width - pen.measureText(text).width - 2)), SCALE / 2);
    }
  }
}
