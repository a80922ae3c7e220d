// From the results to what tables and plots show: numbers by their paths, seconds as columns.
"use strict";

function flatten(value, path = "", into = new Map()) {
  if (value !== null && typeof value === "object" && !Array.isArray(value)) {
    for (const [name, inner] of Object.entries(value)) {
      flatten(inner, path ? `${path}.${name}` : name, into);
    }
  } else if (value !== null && !Array.isArray(value)) {
    into.set(path, value);
  }
  return into;
}

// What a case found, by path; and what its validators' CPU times come to on the average.
function figuresOf(entry) {
  const all = new Map([...flatten(entry.load), ...flatten(entry.figures)]);
  all.delete("is_quiet");
  const validators = Object.entries(entry.load.cpu_us_per_transaction ?? {})
    .filter(([name, us]) => !name.startsWith("client-") && typeof us === "number");
  if (validators.length) {
    const sum = validators.reduce((total, [, us]) => total + us, 0);
    all.set("validator_cpu_us", sum / validators.length);
  }
  return all;
}

// The name among FIGURES that a path goes by: its own, or what it begins with.
function keyOf(path) {
  const start = path.slice(0, path.indexOf(".") + 1);
  return path in FIGURES ? path : start in FIGURES ? start : null;
}

function called(path, language) {
  const key = keyOf(path);
  if (key === null) return path;
  const name = FIGURES[key][LANGUAGES.indexOf(language)];
  if (key === path) return name;
  const rest = path.slice(key.length);
  return `${name}: ${TEXTS[language].stageNames[rest] ?? rest}`;
}

// Those that have a name in the order of names, and the others as they come.
function inOrder(paths) {
  const order = Object.keys(FIGURES);
  const named = paths.filter((path) => keyOf(path) !== null);
  named.sort((one, other) => order.indexOf(keyOf(one)) - order.indexOf(keyOf(other)));
  return [named, paths.filter((path) => keyOf(path) === null)];
}

// A number as people of that language write it.
function written(value, language) {
  if (typeof value !== "number") return value;
  return value.toLocaleString(language, { maximumFractionDigits: Math.abs(value) < 10 ? 4 : 1 });
}

// The seconds of all runs, one run after the other, a gap between them.
function secondsOf(entry) {
  const seconds = [];
  for (const run of entry.runs) {
    if (seconds.length) seconds.push(null);
    seconds.push(...run.seconds);
  }
  return seconds;
}

function column(seconds, pick) {
  return seconds.map((second) => (second === null ? null : pick(second) ?? null));
}
