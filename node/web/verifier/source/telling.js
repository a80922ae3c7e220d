// A sentence of a step told in Chinese, as the command line tells it: found again by its template, and
// what filled that is kept, or told itself where it is a sentence. What is none of ours stays as it is.

import { FINDINGS, JOINING, NAMES, REFUSALS } from './sentences.js';

const SEPARATOR = ': ';
const SENTENCE = 'said';
const REFUSAL = 'refusal';
const FREE = [SENTENCE, REFUSAL, 'got', 'why']; // what is not ours alone, and may hold anything
const ANY = '.+?';
const VALUES = [`(?:(?!${SEPARATOR}).)+?`, ANY]; // first without what separates names
const ARTICLE = 'the ';
const LENGTH_MAX = 4096;

const templates = new Map(); // by the table, and what may fill a template

/** Return the detail of a step in a language: English is what steps speak. */
export function tellDetail(language, { passed, detail }) {
  if (language === 'en') return detail;
  return passed ? tellAny(detail, FINDINGS) : tellRefusal(detail);
}

/** Return in Chinese why something is refused. */
export const tellRefusal = (sentence) => tellAny(sentence, REFUSALS);

function tellAny(sentence, table) {
  if (sentence.length > LENGTH_MAX) return sentence;
  for (const value of VALUES) {
    const told = tell(sentence, templatesOf(table, value));
    if (told !== null) return told;
  }
  return sentence;
}

/** Return a sentence told, with the names that it begins with; null if it is none of ours. */
function tell(sentence, known) {
  const whole = fill(sentence, known);
  if (whole !== null) return whole;
  for (let at = sentence.indexOf(SEPARATOR); at >= 0; at = sentence.indexOf(SEPARATOR, at + 1)) {
    const said = fill(sentence.slice(at + SEPARATOR.length), known);
    if (said !== null) {
      const names = sentence.slice(0, at).split(SEPARATOR).map(tellName);
      return names.reduceRight((told, name) => put(JOINING[0][1], { name, said: told }), said);
    }
  }
  return null;
}

function fill(sentence, known) {
  for (const { pattern, chinese } of known) {
    const found = pattern.exec(sentence);
    if (found === null) continue;
    const values = { ...found.groups };
    if (SENTENCE in values) {
      values[SENTENCE] = tell(values[SENTENCE], known);
      if (values[SENTENCE] === null) continue;
    }
    if (REFUSAL in values) values[REFUSAL] = tellRefusal(values[REFUSAL]);
    return put(chinese, values);
  }
  return null;
}

const put = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** Return the name of a thing told word by word; as it is where it has others than ours. */
function tellName(name) {
  let at = 0;
  let told = '';
  while (at < name.length) {
    const left = name.slice(at);
    const word = WORDS.find(([english]) => left === english || left.startsWith(`${english} `));
    if (word === undefined) return name;
    told += word[1];
    at += word[0].length + 1;
  }
  const isTold = at === name.length + 1 && told !== name.replaceAll(' ', '');
  return isTold ? told : name;
}

const WORDS = NAMES.map(([english, chinese]) => [
  english.startsWith(ARTICLE) ? english.slice(ARTICLE.length) : english,
  chinese,
]).sort(([one], [other]) => other.length - one.length);

/** Return a table's templates with what finds them again: the one that says most by itself first. */
function templatesOf(table, value) {
  const name = `${table === FINDINGS} ${value}`;
  if (!templates.has(name)) {
    const made = table.map(([english, chinese]) => ({
      pattern: new RegExp(`^${patternOf(english, value)}$`, 's'),
      size: Array.from(english.replace(/\{\w+\}/g, '')).length,
      english,
      chinese,
    }));
    made.sort((one, other) => other.size - one.size || (one.english < other.english ? -1 : 1));
    templates.set(name, made);
  }
  return templates.get(name);
}

function patternOf(english, value) {
  return english
    .split(/\{(\w+)\}/)
    .map((piece, at) =>
      at % 2 === 1
        ? `(?<${piece}>${FREE.includes(piece) ? ANY : value})`
        : piece.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&'),
    )
    .join('');
}
