// The page: the results it holds, shown in the language chosen. All of it is put there as text.
"use strict";

const RESULTS = JSON.parse(document.getElementById("data").textContent);
const LANGUAGES = ["en", "zh"];

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function said(value, texts) {
  if (value === null || value === undefined || value === "") return texts.none;
  if (typeof value === "boolean") return value ? texts.yes : texts.no;
  return String(value);
}

function table(caption, heads, rows) {
  const wide = element("div", undefined, "wide");
  const made = element("table");
  made.append(element("caption", caption));
  const head = element("tr");
  for (const each of heads) {
    const cell = element("th", each);
    cell.scope = "col";
    head.append(cell);
  }
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  for (const [name, ...values] of rows) {
    const row = element("tr");
    const first = element("th", name);
    first.scope = "row";
    row.append(first, ...values.map((value) => element("td", value)));
    body.append(row);
  }
  made.append(top, body);
  wide.append(made);
  wide.tabIndex = 0;
  return wide;
}

function nameOf(entry, texts) {
  const { kind = "", validators, batch, records } = entry.settings;
  const parts = [texts.validators(validators)];
  if (kind.startsWith("batch-")) parts.push(texts.batches(batch));
  else if (kind.startsWith("records-")) parts.push(texts.records(records));
  else if (["pressure", "spike", "stability"].includes(kind)) parts.push(texts[kind]);
  return parts.join(", ");
}

function facts(caption, value, texts) {
  const rows = [...flatten(value)].map(([path, fact]) => [path, said(fact, texts)]);
  return table(caption, [texts.figure, texts.value], rows);
}

function showCase(section, entry, texts) {
  section.append(element("h3", nameOf(entry, texts)));
  if (!entry.load.is_quiet) section.append(element("p", texts.notQuiet, "notice"));
  const plots = element("div", undefined, "plots");
  section.append(plots);
  const seconds = secondsOf(entry);
  if (seconds.length) {
    drawLines(plots, texts.throughput, texts, [
      { name: texts.final, values: column(seconds, (each) => each.transactions_per_s) },
      {
        name: texts.noisy,
        values: column(seconds, (each) => (each.is_quiet ? null : each.transactions_per_s)),
        dots: true,
      },
    ]);
    drawLines(plots, texts.latency, texts, ["p50_ms", "p95_ms", "p99_ms"].map((name) => (
      { name: name.slice(0, 3), values: column(seconds, (each) => each.latency[name]) }
    )));
    const processes = [...new Set(seconds.flatMap((each) => Object.keys(each?.memory_mib ?? {})))];
    drawLines(plots, texts.memory, texts, processes.map((name) => (
      { name, values: column(seconds, (each) => each.memory_mib[name]) }
    )));
    drawLines(plots, texts.others, texts, [
      { name: texts.ours, values: column(seconds, (each) => each.cpu_cores_used) },
      { name: texts.byOthers, values: column(seconds, (each) => each.cpu_cores_used_by_others) },
    ]);
  }
  drawParts(plots, texts.split, Object.entries(entry.load.cpu_us_per_transaction ?? {}));
  drawParts(plots, texts.stages, Object.entries(entry.load.stage_cpu_us_per_transaction ?? {}));
}

function showResult(where, result, language) {
  const texts = TEXTS[language];
  const section = element("section");
  where.append(section);
  section.append(element("h2", texts.rounds[result.round] ?? result.round));
  const found = result.cases.map(figuresOf);
  const paths = [...new Set(found.flatMap((each) => [...each.keys()]))];
  const called = (path) => (FIGURES[path] ? FIGURES[path][LANGUAGES.indexOf(language)] : path);
  section.append(
    table(
      texts.figures,
      [texts.figure, ...result.cases.map((entry) => nameOf(entry, texts))],
      paths.map((path) => [called(path), ...found.map((each) => said(each.get(path), texts))]),
    ),
  );
  for (const entry of result.cases) showCase(section, entry, texts);
  section.append(element("h3", texts.settings));
  section.append(facts(texts.settings, result.settings, texts));
  for (const entry of result.cases) {
    section.append(facts(nameOf(entry, texts), entry.settings, texts));
  }
  section.append(element("h3", texts.machine), facts(texts.machine, result.machine, texts));
}

function show(language) {
  document.documentElement.lang = language;
  for (const each of LANGUAGES) {
    document.getElementById(`language-${each}`).setAttribute("aria-pressed", String(each === language));
  }
  document.getElementById("title").textContent = TEXTS[language].title;
  document.getElementById("lead").textContent = TEXTS[language].lead;
  const where = document.getElementById("results");
  where.replaceChildren();
  PLOTS.length = 0;
  for (const result of RESULTS) showResult(where, result, language);
}

for (const each of LANGUAGES) {
  document.getElementById(`language-${each}`).addEventListener("click", () => show(each));
}
show(navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");
