// Plots: each a set of lines over the seconds of a case, and bars of what parts come to.
"use strict";

const COLOURS = ["#1b5e9b", "#a3161f", "#14683a", "#7a4b00", "#6b3fa0", "#00697a", "#8a2a60", "#4a5568"];

const HEIGHT = 240;
const PLOTS = []; // of each plot on the page, what fits it to its box
window.addEventListener("resize", () => PLOTS.forEach((fit) => fit()));

// lines: [{ name, values, dots }]; dots are drawn apart from each other.
function drawLines(where, title, texts, lines) {
  const box = document.createElement("figure");
  box.className = "plot";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  box.append(caption);
  where.append(box);
  const width = () => Math.max(box.clientWidth - 28, 320);
  const colour = (index) => COLOURS[index % COLOURS.length];
  const options = {
    width: width(),
    height: HEIGHT,
    scales: { x: { time: false }, y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [{ label: texts.seconds }, { size: 64 }],
    legend: { live: false },
    series: [
      { label: texts.second },
      ...lines.map((line, index) => ({
        label: line.name,
        stroke: colour(index),
        width: line.dots ? 0 : 1.5,
        points: { show: line.dots ? true : undefined, size: 6 },
        paths: line.dots ? () => null : undefined,
      })),
    ],
  };
  const xs = lines[0].values.map((_value, index) => index + 1);
  const plot = new uPlot(options, [xs, ...lines.map((line) => line.values)], box);
  PLOTS.push(() => plot.setSize({ width: width(), height: HEIGHT }));
}

// A bar for each of [[name, amount]], as long as it is large.
function drawBars(where, title, bars, language) {
  const known = bars.filter(([, amount]) => typeof amount === "number");
  const most = Math.max(...known.map(([, amount]) => amount));
  if (known.length < 2 || !(most > 0)) return;
  const box = document.createElement("figure");
  box.className = "plot";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  box.append(caption);
  for (const [name, amount] of known) {
    const label = document.createElement("p");
    label.className = "bar";
    label.textContent = `${name}: ${written(amount, language)}`;
    const bar = document.createElement("div");
    bar.className = "length";
    bar.style.width = `${(100 * amount) / most}%`;
    box.append(label, bar);
  }
  where.append(box);
}

// One bar of parts: [[name, amount]], with a list that names them.
function drawParts(where, title, parts) {
  const known = parts.filter(([, amount]) => typeof amount === "number");
  if (!known.length) return;
  const box = document.createElement("figure");
  box.className = "plot";
  const caption = document.createElement("figcaption");
  caption.textContent = title;
  const bar = document.createElement("div");
  bar.className = "split";
  bar.setAttribute("aria-hidden", "true");
  const key = document.createElement("ul");
  key.className = "key";
  known.forEach(([name, amount], index) => {
    const part = document.createElement("span");
    part.style.flexGrow = String(amount);
    part.style.background = COLOURS[index % COLOURS.length];
    bar.append(part);
    const item = document.createElement("li");
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = COLOURS[index % COLOURS.length];
    item.append(swatch, `${name}: ${amount}`);
    key.append(item);
  });
  box.append(caption, bar, key);
  where.append(box);
}
