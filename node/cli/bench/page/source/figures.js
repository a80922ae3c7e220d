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

// What a case found, by path: those that have a name first, in their order.
function figuresOf(entry) {
  const all = new Map([...flatten(entry.load), ...flatten(entry.figures)]);
  const named = Object.keys(FIGURES).filter((path) => all.has(path));
  const rest = [...all.keys()].filter((path) => !(path in FIGURES) && path !== "is_quiet");
  return new Map([...named, ...rest].map((path) => [path, all.get(path)]));
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
