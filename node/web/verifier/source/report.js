// The answer as people read it: the verdict, what is attested, what is not, and every step.
// All text goes into the page as text: nothing of a receipt is ever read as markup.

import { hex } from './bytes.js';
import { STEPS } from './verify.js';
import { COMPACT_STEPS } from './qr.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { INVISIBLE } from './shapes.js';
import { say } from './texts.js';
import { isoTime } from './times.js';

const NAME_MAX = 40; // characters of a long name that are shown, at either end
const MARKS = { verified: '✓', 'not verified': '✕', 'not rooted': '?' };
const COMPACT_TITLES = { RECEIPT: 'TEXT' };
const UNROOTED = {
  RECEIPT: { why: 'notRootedAlone', fix: 'fixAlone' },
  TOKEN: { why: 'notRootedToken', fix: 'fixReceipt' },
};
const BEIJING_MS = 8n * 3600000n;

/** Return a file's name as it can stand in a sentence: in quotes, with nothing in it that hides. */
export function quotedName(name) {
  const visible = Array.from(name, (each) => (INVISIBLE.test(each) ? '\ufffd' : each));
  const [start, end] = [visible.slice(0, NAME_MAX), visible.slice(NAME_MAX).slice(-NAME_MAX)];
  const isWhole = visible.length <= 2 * NAME_MAX;
  return `\u201c${start.join('')}${isWhole ? '' : '\u2026'}${end.join('')}\u201d`;
}

/** Return an element with this class, holding text or other elements. */
function make(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/**
 * Fill `place` with an answer. `about` has the document's `name`, the `trust`, `isCompact`, and when
 * it was `checked` by the clock of this device.
 */
export function show(place, language, answer, about) {
  const tell = (key, values) => say(language, key, values);
  const body = make('div', 'body');
  if (about.trust.genesis.testnet) body.append(make('p', 'notice', tell('testnet')));
  if (answer.attested !== null) {
    body.append(make('h3', '', tell('attested')), factsOf(tell, answer.attested, about));
  }
  body.append(make('h3', '', tell('trustUsed')), trustOf(tell, about.trust));
  if (answer.attested !== null) {
    const said = ['unknownLater', 'unknownTruth', 'unknownTrust'].map((key) =>
      make('li', '', tell(key)),
    );
    body.append(make('h3', '', tell('unknown')), make('ul', 'plain', ...said));
  }
  body.append(make('h3', '', tell('steps')), stepsOf(tell, answer.steps, about.isCompact));
  place.replaceChildren(verdictOf(tell, answer, about), body);
}

function verdictOf(tell, { outcome, steps, attested }, { name, checked }) {
  const mark = make('span', 'mark', MARKS[outcome]);
  mark.setAttribute('aria-hidden', 'true');
  const word = make('h2', 'word', mark, make('span', '', tell(outcome)));
  const sentences =
    outcome === 'verified'
      ? [existence(tell, attested, name)]
      : refusalOf(tell, outcome, steps, attested, name);
  word.id = 'verdict-word';
  const className = `verdict ${outcome.replace(' ', '-')}`;
  const when = make('p', 'checked', tell('checked', { time: checked.toISOString() }));
  const said = sentences.map((sentence) => make('p', '', sentence));
  return make('div', className, word, ...said, when);
}

function existence(tell, attested, name) {
  const isSealed = attested.timeDegraded === true;
  const values = {
    name,
    time: isoTime(isSealed ? attested.sealTime : attested.time),
    height: attested.height,
    signers: attested.signers.length,
    validators: attested.validatorCount,
  };
  const sentence = tell(isSealed ? 'existsSealed' : 'exists', values);
  const isJoined = typeof attested.joinedHeight === 'bigint';
  return isJoined ? sentence + tell('existsJoined', { joined: attested.joinedHeight }) : sentence;
}

function refusalOf(tell, outcome, steps, attested, name) {
  const failed = steps[steps.length - 1];
  if (attested !== null && attested.leaf.record.action === WITHDRAW)
    return [tell('withdrawal', { name })];
  const values = { name, number: failed.number };
  if (outcome === 'not rooted') {
    const { why, fix } = UNROOTED[failed.name] ?? { why: 'notRooted', fix: 'fixRoot' };
    return [tell(why, values), tell(fix)];
  }
  const isFuture = failed.detail.startsWith('time-future');
  const fix = failed.name === 'DOCUMENT' ? 'fixDocument' : isFuture ? 'fixClock' : 'fixReceipt';
  return [tell('notVerified', values), tell(fix)];
}

function factsOf(tell, attested, { trust }) {
  const { leaf } = attested;
  const { record } = leaf;
  const organisations = [
    ...new Set(attested.signers.map((each) => nameOf(trust, each.organisation))),
  ];
  const rows = [
    ['issuer', leaf.sender],
    ['type', record.type],
    ['reference', record.reference ?? tell('none')],
    ['action', tell(ACTIONS[Number(record.action)])],
    ['digest', exact(recordedDigest(record))],
    ['height', tell('heightOf', { height: attested.height, epoch: attested.epoch })],
    ['time', momentOf(attested.time), timeNote(tell, attested)],
  ];
  if (attested.sealTime !== undefined) {
    rows.push(['sealTime', momentOf(attested.sealTime), tell('sealMeaning')]);
  }
  if (attested.checkpointHeight !== undefined) {
    rows.push(['checkpoint', String(attested.checkpointHeight)]);
  }
  const counted = {
    signers: attested.signers.length,
    validators: attested.validatorCount,
    organisations: organisations.join(', '),
  };
  rows.push(
    ['signers', attested.signers.map((each) => each.id).join(', '), tell('signersOf', counted)],
    ['transaction', exact(`${hex(leaf.txId)}:${leaf.operation}`)],
    ['place', `${attested.logIndex} / ${attested.logSize}`],
  );
  return listOf(rows.map(([key, ...values]) => [tell(key), ...values]));
}

function timeNote(tell, { timeDegraded, accuracy }) {
  if (timeDegraded === undefined) return tell('timeUnknown');
  if (timeDegraded) return make('strong', '', tell('timeDegraded'));
  return accuracy === null ? tell('timeUnbound') : tell('timeBound', { ms: accuracy });
}

function trustOf(tell, trust) {
  return listOf([
    [tell('chain'), trust.genesis.name, exact(hex(trust.chainId)), pinOf(tell, trust)],
    ['SHA-256', exact(trust.fingerprint), tell('compare')],
  ]);
}

export function pinOf(tell, { pinned }) {
  return pinned === null
    ? tell('pinnedGenesis')
    : tell('pinnedHeight', { height: pinned.header.height });
}

function stepsOf(tell, steps, isCompact) {
  const names = isCompact ? COMPACT_STEPS : STEPS;
  const items = names.map((name, at) => {
    const step = steps[at];
    const state = step === undefined ? 'not-taken' : step.passed ? 'passed' : 'failed';
    const title = tell((isCompact && COMPACT_TITLES[name]) || name);
    const item = make(
      'li',
      state,
      make('span', 'at', `${at + 1}.`),
      make('span', '', title),
      make('span', 'how', tell(state === 'not-taken' ? 'notTaken' : state)),
    );
    if (step !== undefined && step.detail !== '') item.append(make('span', 'detail', step.detail));
    return item;
  });
  return make('ol', 'steps', ...items);
}

function listOf(rows) {
  const made = rows.flatMap(([name, ...values]) => [
    make('dt', '', name),
    make('dd', '', ...values.map((value) => make('p', '', value))),
  ]);
  return make('dl', '', ...made);
}

const exact = (text) => make('span', 'exact', text);

/** A time in UTC and, as officials here reckon, in Beijing time. */
function momentOf(time) {
  const beijing = isoTime(time + BEIJING_MS);
  const isWritten = beijing.endsWith('Z');
  return isWritten
    ? `${isoTime(time)} (${beijing.slice(0, -1).replace('T', ' ')} UTC+8)`
    : isoTime(time);
}

function nameOf({ genesis }, id) {
  return genesis.organisations.find((each) => each.id === id)?.name ?? id;
}
