// Times of a trace, in microseconds, as people read them.

function timeText(value) {
  for (const [size, unit] of [[1e6, "s"], [1e3, "ms"]]) {
    if (Math.abs(value) >= size) return `${Number((value / size).toPrecision(4))} ${unit}`;
  }
  return `${Number(value.toPrecision(3))} µs`;
}

// A step between two marks of a scale: 1, 2 or 5 times a power of ten.
function stepFor(width, most) {
  const power = 10 ** Math.floor(Math.log10(width / most));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => width / step <= most) ?? 10 * power;
}
