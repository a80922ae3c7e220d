// The page: the results it holds, shown in the language chosen. All of it is put there as text.
"use strict";

const RESULTS = JSON.parse(document.getElementById("data").textContent);

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function said(value, language) {
  const texts = TEXTS[language];
  if (value === null || value === undefined || value === "") return texts.none;
  if (typeof value === "boolean") return value ? texts.yes : texts.no;
  return String(written(value, language));
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

function timeOf(ms) {
  return typeof ms === "number" && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString().slice(0, 16).replace("T", " ") + " UTC" : null;
}

function facts(caption, value, language) {
  const texts = TEXTS[language];
  const rows = [...flatten(value)].map(([path, fact]) => [
    called(path, language),
    said(path === "began_ms" ? timeOf(fact) : fact, language),
  ]);
  return table(caption, [texts.figure, texts.value], rows);
}

// What a case comes to, in sentences.
function inShort(entry, language) {
  const texts = TEXTS[language];
  const { load } = entry;
  const number = (value) => said(value, language);
  const sentences = [];
  if (!load.transactions_per_s) sentences.push(texts.shortNothing);
  else {
    const { p50_ms: p50, p99_ms: p99 } = load.latency ?? {};
    sentences.push(texts.shortFinal(number(load.transactions_per_s), number(p50), number(p99)));
  }
  if (entry.settings.records > 1) sentences.push(texts.shortRecords(number(load.records_per_s)));
  const failed = Object.values(load.failures ?? {}).reduce((sum, count) => sum + count, 0);
  if (failed) sentences.push(texts.shortFailed(number(failed)));
  if (load.outage_ms) sentences.push(texts.shortOutage(number(load.outage_ms)));
  if (entry.settings.kind === "stability") {
    sentences.push(texts.shortGrowth(number(load.memory_mib?.growth_percent)));
  }
  if (!load.is_quiet) sentences.push(texts.notQuiet);
  return sentences.join(" ");
}

function showShort(section, result, language) {
  const texts = TEXTS[language];
  const { machine } = result;
  const box = element("div", undefined, "short");
  section.append(element("h3", texts.short), box);
  for (const entry of result.cases) {
    const line = element("p");
    line.append(element("strong", `${nameOf(entry, texts)}: `), inShort(entry, language));
    box.append(line);
  }
  const where = [texts.cores(machine.cores, machine.cpu), `${said(machine.memory_gib, language)} GiB`, machine.file_system];
  const versions = [`govchain ${machine.govchain}`, machine.commit, `Python ${machine.python}`];
  const join = (parts) => parts.filter((each) => each).join(", ");
  box.append(element("p", texts.shortWhere(join(where), join(versions), timeOf(machine.began_ms) ?? texts.unknownTime)));
}

function showCase(section, entry, language) {
  const texts = TEXTS[language];
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
  const stages = Object.entries(entry.load.stage_cpu_us_per_transaction ?? {});
  drawParts(plots, texts.stages, stages.map(([name, us]) => [texts.stageNames[name] ?? name, us]));
}

function showResult(where, result, language) {
  const texts = TEXTS[language];
  const section = element("section");
  where.append(section);
  section.append(element("h2", texts.rounds[result.round] ?? result.round));
  showShort(section, result, language);
  const plots = element("div", undefined, "plots");
  section.append(plots);
  for (const path of ["transactions_per_s", "latency.p99_ms"]) {
    const bars = result.cases.map((entry) => [nameOf(entry, texts), figuresOf(entry).get(path)]);
    drawBars(plots, `${texts.byCase}: ${called(path, language)}`, bars, language);
  }
  const found = result.cases.map(figuresOf);
  const [named, rest] = inOrder([...new Set(found.flatMap((each) => [...each.keys()]))]);
  const figures = (caption, paths) => table(
    caption,
    [texts.figure, ...result.cases.map((entry) => nameOf(entry, texts))],
    paths.map((path) => [called(path, language), ...found.map((each) => said(each.get(path), language))]),
  );
  section.append(figures(texts.figures, named));
  if (rest.length) {
    const more = element("details");
    more.append(element("summary", texts.more), figures(texts.more, rest));
    section.append(more);
  }
  for (const entry of result.cases) showCase(section, entry, language);
  section.append(element("h3", texts.settings));
  section.append(facts(texts.settings, result.settings, language));
  for (const entry of result.cases) {
    section.append(facts(nameOf(entry, texts), entry.settings, language));
  }
  section.append(element("h3", texts.machine), facts(texts.machine, result.machine, language));
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
