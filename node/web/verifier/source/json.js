// JSON (RFC 8259) as trust files need it: flat, no name twice, numbers kept as they are written.

import { Refused } from './refusal.js';

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORD = /true|false|null/y;
const DEPTH_MAX = 2;

/** A number, by the characters it is written in. */
export class WrittenNumber {
  constructor(digits) {
    this.digits = digits;
  }
}

/** Return the value of a text: objects become Maps, numbers `WrittenNumber`s. */
export function parseJson(text, what) {
  let at = 0;

  function take(pattern) {
    pattern.lastIndex = at;
    const found = pattern.exec(text);
    if (found !== null) at = pattern.lastIndex;
    return found === null ? null : found[0];
  }

  /** Return a string with what is escaped in it, or null if none begins here. */
  function takeString() {
    if (text[at] !== '"') return null;
    let end = at + 1;
    while (end < text.length && text[end] !== '"') end += text[end] === '\\' ? 2 : 1;
    const written = text.slice(at, end + 1);
    at = end + 1;
    try {
      return JSON.parse(written);
    } catch {
      return refuse('no string');
    }
  }

  function has(character) {
    take(SPACE);
    if (text[at] !== character) return false;
    at += 1;
    return true;
  }

  function refuse(detail) {
    throw new Refused(what, `expected a JSON object: ${detail} at character ${at}`);
  }

  function parseValue(depth) {
    take(SPACE);
    if (has('{')) return parseObject(depth);
    if (has('[')) return parseList(depth);
    const string = takeString();
    if (string !== null) return string;
    const number = take(NUMBER);
    if (number !== null) return new WrittenNumber(number);
    const word = take(WORD);
    if (word === null) refuse('no value');
    return JSON.parse(word);
  }

  function parseObject(depth) {
    if (depth === DEPTH_MAX) refuse('nested too deep');
    const members = new Map();
    if (has('}')) return members;
    do {
      take(SPACE);
      const name = takeString();
      if (name === null || !has(':')) refuse('no name');
      if (members.has(name)) throw new Refused(what, 'a field occurs twice');
      members.set(name, parseValue(depth + 1));
    } while (has(','));
    if (!has('}')) refuse('no end of an object');
    return members;
  }

  function parseList(depth) {
    if (depth === DEPTH_MAX) refuse('nested too deep');
    const items = [];
    if (has(']')) return items;
    do {
      items.push(parseValue(depth + 1));
    } while (has(','));
    if (!has(']')) refuse('no end of a list');
    return items;
  }

  const value = parseValue(0);
  take(SPACE);
  if (at !== text.length) refuse('more follows');
  return value;
}
