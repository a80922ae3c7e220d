// The answer as people read it: the verdict, what is attested, what is not, and every step.
// All text goes into the page as text: nothing of a receipt is ever read as markup.

import { hex } from './bytes.js';
import { KINDS } from './kinds.js';
import { ACTIONS, recordedDigest, WITHDRAW } from './record.js';
import { INVISIBLE } from './shapes.js';
import { FOLLOWING_STEPS } from './standing.js';
import { tellDetail } from './telling.js';
import { say } from './texts.js';
import { isoTime } from './times.js';

const NAME_MAX = 40; // characters of a long name that are shown, at either end
const MARKS = { verified: '✓', 'not verified': '✕', 'not rooted': '?' };
// What a step is called where that is not its name.
const TITLES = {
  receipt: {},
  compact: { RECEIPT: 'COMPACT_RECEIPT' },
  token: {
    ANSWER: 'TOKEN_ANSWER',
    DOCUMENT: 'TOKEN_DOCUMENT',
    CERTIFICATE: 'TOKEN_CERTIFICATE',
    ATTRIBUTES: 'TOKEN_ATTRIBUTES',
    SIGNATURE: 'TOKEN_SIGNATURE',
    PURPOSE: 'TOKEN_PURPOSE',
    TIME: 'TOKEN_TIME',
    AUTHORITY: 'TOKEN_AUTHORITY',
    CHAIN: 'TOKEN_CHAIN',
  },
  tlog: {
    PROOF: 'TLOG_PROOF',
    ENTRY: 'TLOG_ENTRY',
    CHECKPOINT: 'TLOG_CHECKPOINT',
    INCLUSION: 'TLOG_INCLUSION',
  },
  standing: {
    PROOF: 'STANDING_PROOF',
    NAME: 'STANDING_NAME',
    STATE: 'STANDING_STATE',
    RECORD: 'STANDING_RECORD',
  },
  consistency: {
    PROOF: 'CONSISTENCY_PROOF',
    ORDER: 'CONSISTENCY_ORDER',
    LOG: 'CONSISTENCY_LOG',
    HEADER: 'CONSISTENCY_HEADER',
  },
};
/** What the kinds are called that the page verifies. */
export const KIND_NAMES = {
  receipt: 'kindReceipt',
  compact: 'kindCompact',
  token: 'kindToken',
  tlog: 'kindTlog',
  standing: 'kindStanding',
  consistency: 'kindConsistency',
  request: 'kindRequest',
  certificate: 'kindCertificate',
  revocations: 'kindRevocations',
};
/** What is said of those that it does not. */
export const OTHER_KINDS = {
  anchor: 'isAnchor',
  evidence: 'isEvidence',
  fork: 'isFork',
  equivocation: 'isEquivocation',
  report: 'isReport',
  request: 'isRequest',
  certificate: 'isCertificate',
  revocations: 'isRevocations',
  marked: 'isMarked',
  checkpoint: 'isCheckpoint',
  policy: 'isPolicy',
  trust: 'isTrust',
  privateKey: 'isPrivateKey',
};
const STANDS = {
  absent: 'stands_absent',
  in_force: 'stands_in_force',
  withdrawn: 'stands_withdrawn',
};
/** What became of a record, by a proof of standing beside its receipt. */
const FATES = {
  in_force: { word: 'recordInForce', said: 'followedInForce', className: 'verified' },
  superseded: { word: 'recordSuperseded', said: 'followedSuperseded', className: 'not-rooted' },
  withdrawn: { word: 'recordWithdrawn', said: 'followedWithdrawn', className: 'not-verified' },
};
const UNROOTED = {
  RECEIPT: { why: 'notRootedAlone', fix: 'fixAlone' },
  CHAIN: { why: 'notRootedAlone', fix: 'fixToken' },
  AUTHORITY: { why: 'notRootedAlone', fix: 'fixRoot' },
  TOKEN: { why: 'notRootedToken', fix: 'fixReceipt' },
};
// What a proof leaves open, by its kind.
const UNKNOWN = {
  standing: ['unknownAfter', 'unknownTrust'],
  consistency: ['unknownAfter', 'unknownTrust'],
};
const UNKNOWN_OF_RECEIPTS = ['unknownLater', 'unknownAnchor', 'unknownTruth', 'unknownTrust'];
const UNKNOWN_FOLLOWED = ['unknownSince', 'unknownAnchor', 'unknownTruth', 'unknownTrust'];
/** What helps where a step failed for this reason. */
const FIXES = { 'time-future': 'fixClock', 'certificate-missing': 'fixCertificate' };
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
 * Fill `place` with an answer. `about` has the `name` of the document, or of a proof about none, the
 * `trust`, the `kind` of what was verified, what is `idle` of the files beside it, and when it was
 * `checked` by the clock of this device.
 */
export function show(place, language, answer, about) {
  const tell = (key, values) => say(language, key, values);
  const body = make('div', 'body');
  if (about.trust.genesis.testnet) body.append(make('p', 'notice', tell('testnet')));
  for (const [key, values] of about.idle) body.append(make('p', 'notice', tell(key, values)));
  if (answer.attested !== null) {
    const facts = FACTS[about.kind] ?? recordFacts;
    const rows = facts(tell, answer.attested, about);
    const told = rows.map(([key, ...values]) => [tell(key), ...values]);
    body.append(make('h3', '', tell('attested')), listOf(told));
  }
  body.append(make('h3', '', tell('trustUsed')), trustOf(tell, about.trust));
  if (answer.attested !== null) {
    const ofRecord = answer.followed?.attested ? UNKNOWN_FOLLOWED : UNKNOWN_OF_RECEIPTS;
    const said = (UNKNOWN[about.kind] ?? ofRecord).map((key) => make('li', '', tell(key)));
    body.append(make('h3', '', tell('unknown')), make('ul', 'plain', ...said));
  }
  body.append(make('h3', '', tell('steps')), stepsOf(language, answer.steps, about.kind));
  const verdicts = [verdictOf(tell, answer, about)];
  if (answer.followed) {
    const { followed } = answer;
    const steps = stepsOf(language, followed.steps, 'standing', FOLLOWING_STEPS);
    body.append(make('h3', '', tell('stepsOfStanding')), steps);
    const isInForce = followed.attested?.fate === 'in_force';
    verdicts.splice(isInForce ? 1 : 0, 0, fateOf(tell, answer));
  }
  place.replaceChildren(...verdicts, body);
}

/** What became of the record after its receipt: said first, unless it still is in force. */
function fateOf(tell, { attested: recorded, followed }) {
  const { outcome, steps, attested } = followed;
  if (attested === null) {
    const failed = steps[steps.length - 1];
    const why = outcome === 'not rooted' ? 'notRootedProof' : 'notVerifiedProof';
    const said = [tell('standingFailed'), tell(why, failed), tell('fixStanding')];
    return blockOf(tell, outcome, outcome.replace(' ', '-'), said);
  }
  const { word, said, className } = FATES[attested.fate];
  const values = {
    reference: attested.name.reference,
    committed: isoTime(recorded.timeDegraded ? recorded.sealTime : recorded.time),
    known: isoTime(attested.timeDegraded ? attested.sealTime : attested.time),
    moved: isoTime(attested.status.time),
  };
  // When, the status does not say, once something else is in force.
  const isEarlier = attested.fate === 'withdrawn' && attested.status.withdrawnIndex !== null;
  const sentence = tell(isEarlier ? 'followedWithdrawnEarlier' : said, values);
  const vouching = attested.fate === 'in_force' ? [] : [tell('recordsVouched')];
  return blockOf(tell, word, className, [sentence, stoodAt(tell, attested), ...vouching]);
}

function blockOf(tell, word, className, sentences) {
  const mark = make('span', 'mark', MARKS[className.replace('-', ' ')]);
  mark.setAttribute('aria-hidden', 'true');
  const said = sentences.map((sentence) => make('p', '', sentence));
  const title = make('h2', 'word', mark, make('span', '', tell(word)));
  return make('div', `verdict ${className}`, title, ...said);
}

function verdictOf(tell, { outcome, steps, attested }, { name, kind, checked }) {
  const sentences =
    outcome === 'verified'
      ? (SHOWN[kind] ?? existence)(tell, attested, name)
      : refusalOf(tell, outcome, steps, attested, { name, kind });
  const block = blockOf(tell, outcome, outcome.replace(' ', '-'), sentences);
  block.querySelector('.word').id = 'verdict-word';
  block.append(make('p', 'checked', tell('checked', { time: checked.toISOString() })));
  return block;
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
  const joined = isJoined ? tell('existsJoined', { joined: attested.joinedHeight }) : '';
  return [sentence + joined];
}

function cosigned(tell, { height, time, sealTime, signers }, name) {
  const values = { name, height, time: isoTime(time), seal_time: isoTime(sealTime) };
  return [tell('existsTlog', { ...values, signers: signers.length })];
}

function standing(tell, { name, status, fate, ...known }) {
  const latest =
    status === null
      ? {}
      : {
          time: isoTime(status.time),
          digest: recordedDigest(status),
          height: status.height,
          count: status.count,
        };
  const vouching = status === null ? [] : [tell('recordsVouched')];
  return [tell(STANDS[fate], { ...name, ...latest }), stoodAt(tell, known), ...vouching];
}

function stoodAt(tell, { timeDegraded, sealTime, time, height, signers, validatorCount }) {
  return tell(timeDegraded ? 'standsSealed' : 'standsAt', {
    time: isoTime(timeDegraded ? sealTime : time),
    height,
    signers: signers.length,
    validators: validatorCount,
  });
}

function growth(tell, { old, height, time, logSize, signers, validatorCount }) {
  const values = {
    old: old.height,
    old_time: isoTime(old.time),
    old_size: old.logSize,
    new: height,
    new_time: isoTime(time),
    size: logSize,
    signers: signers.length,
    validators: validatorCount,
  };
  return [tell('grew', values)];
}

/** What a verified one shows, in sentences; of receipts, that the document existed. */
const SHOWN = { tlog: cosigned, standing, consistency: growth };

function refusalOf(tell, outcome, steps, attested, { name, kind }) {
  const failed = steps[steps.length - 1];
  if (attested !== null && attested.leaf.record.action === WITHDRAW)
    return [tell('withdrawal', { name })];
  const values = { name, number: failed.number };
  const isReceipt = kind === 'receipt' || kind === 'compact';
  if (outcome === 'not rooted') {
    const why = isReceipt ? 'notRooted' : 'notRootedProof';
    const found = UNROOTED[failed.name] ?? { why, fix: 'fixRoot' };
    return [tell(found.why, values), tell(found.fix)];
  }
  const renewing = isReceipt ? 'fixReceipt' : 'fixProof';
  const [rule] = failed.detail.split(':');
  const fix = failed.name === 'DOCUMENT' ? 'fixDocument' : (FIXES[rule] ?? renewing);
  return [tell(isReceipt ? 'notVerified' : 'notVerifiedProof', values), tell(fix)];
}

function recordFacts(tell, attested, { trust }) {
  const { leaf } = attested;
  const { record } = leaf;
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
  rows.push(
    signerFacts(tell, attested, trust),
    ['transaction', exact(`${hex(leaf.txId)}:${leaf.operation}`)],
    ['place', `${attested.logIndex} / ${attested.logSize}`],
  );
  return rows;
}

function signerFacts(tell, { signers, validatorCount }, trust) {
  const organisations = [...new Set(signers.map((each) => nameOf(trust, each.organisation)))];
  const counted = {
    signers: signers.length,
    validators: validatorCount,
    organisations: organisations.join(', '),
  };
  return ['signers', signers.map((each) => each.id).join(', '), tell('signersOf', counted)];
}

function standingFacts(tell, attested, { trust }) {
  const { name, status } = attested;
  const rows = [
    ['issuer', name.issuer],
    ['type', name.type],
    ['reference', name.reference],
  ];
  if (status !== null) {
    const { count, height, time } = status;
    rows.push(['latest', tell('latestOf', { count, height }), momentOf(time)]);
    rows.push(['digest', exact(recordedDigest(status))]);
  }
  rows.push(
    ['height', tell('heightOf', { height: attested.height, epoch: attested.epoch })],
    ['time', momentOf(attested.time), timeNote(tell, attested)],
    ['sealTime', momentOf(attested.sealTime), tell('sealMeaning')],
    signerFacts(tell, attested, trust),
  );
  return rows;
}

function growthFacts(tell, attested, { trust }) {
  const { old, height, epoch, time, logSize } = attested;
  const sizes = { old: old.logSize, block: old.height, size: logSize, later: height };
  return [
    ['entries', tell('entriesOf', sizes)],
    ['height', tell('heightOf', { height, epoch }), momentOf(time)],
    signerFacts(tell, attested, trust),
  ];
}

/** What is attested, in rows, by the kind; of receipts, the record. */
const FACTS = { standing: standingFacts, consistency: growthFacts };

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

function stepsOf(language, steps, kind, names = KINDS[kind].steps) {
  const tell = (key) => say(language, key);
  const items = names.map((name, at) => {
    const step = steps[at];
    const state = step === undefined ? 'not-taken' : step.passed ? 'passed' : 'failed';
    const title = tell(TITLES[kind][name] ?? name);
    const item = make(
      'li',
      state,
      make('span', 'at', `${at + 1}.`),
      make('span', '', title),
      make('span', 'how', tell(state === 'not-taken' ? 'notTaken' : state)),
    );
    if (step !== undefined) item.append(make('span', 'detail', tellDetail(language, step)));
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
