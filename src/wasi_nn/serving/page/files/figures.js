// Numbers as people read them.

export function seconds(value) {
  if (value === null || value === undefined) return "–";
  if (value < 0.001) return `${Math.round(value * 1e6)} µs`;
  if (value < 1) return `${digits(value * 1e3)} ms`;
  if (value < 100) return `${digits(value)} s`;
  return duration(value);
}

export function duration(value) {
  const whole = Math.round(value);
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const first = parts.findIndex(([size]) => whole >= size);
  if (first < 0) return "0 s";
  return parts.slice(first, first + 2).map(([size, unit], place) => {
    const rest = place === 0 ? whole : whole % parts[first][0];
    return `${Math.floor(rest / size)} ${unit}`;
  }).filter((text) => !text.startsWith("0 ")).join(" ");
}

export function bytes(value) {
  if (!value) return "0 B";
  const power = Math.min(4, Math.floor(Math.log2(value) / 10));
  return `${digits(value / 2 ** (10 * power))} ${["B", "KiB", "MiB", "GiB", "TiB"][power]}`;
}

export function digits(value) {
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value));
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

export function count(value) {
  return value.toLocaleString("en");
}

// A number of a tensor.
export function element(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(6))) : value.toExponential(4);
}
