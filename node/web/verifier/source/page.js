// The page: takes the inputs in any order, and verifies as soon as the first three are there.
// Whatever is given anew makes void what was found before, and what is still being computed of it.

import { certificatesIn, gather, isBeside, ONCE, readBeside } from './beside.js';
import { hex, utf8 } from './bytes.js';
import { guessKinds, hashFile, parseDigest, readBytes } from './inputs.js';
import { kindOf, KINDS } from './kinds.js';
import { KIND_NAMES, OTHER_KINDS, pinOf, quotedName, show } from './report.js';
import { concerns } from './revocations.js';
import { RECEIPT_FILE_BYTES_MAX } from './structures.js';
import { tellRefusal } from './telling.js';
import { say, TEXTS } from './texts.js';
import { loadTrust, TRUST_BYTES_MAX } from './trust.js';

const SLOTS = ['document', 'receipt', 'trust', 'beside'];
const BYTES_MAX = {
  receipt: RECEIPT_FILE_BYTES_MAX,
  trust: TRUST_BYTES_MAX,
  beside: RECEIPT_FILE_BYTES_MAX,
};

/** Make the page of a document work. */
export function startPage(root) {
  new Page(root).start();
}

class Page {
  constructor(root) {
    this.root = root;
    this.at = (id) => root.getElementById(id);
    const { language } = root.defaultView.navigator;
    this.language = language.toLowerCase().startsWith('zh') ? 'zh' : 'en';
    this.given = {}; // by kind: what is to be verified
    this.states = {}; // by kind: what is said of it, {key, values, isWrong}
    this.turns = { document: 0, receipt: 0, trust: 0, beside: 0, verdict: 0 }; // each the latest begun
    this.isBusy = false;
    this.verdict = null;
  }

  start() {
    for (const kind of SLOTS) {
      const input = this.at(`file-${kind}`);
      input.addEventListener('change', () => {
        if (input.files.length > 0) this.takeFiles(kind, [...input.files]);
      });
    }
    this.at('digest').addEventListener('change', (event) => this.takeDigest(event.target.value));
    this.at('text').addEventListener('change', (event) => this.takeText(event.target.value));
    for (const language of Object.keys(TEXTS)) {
      this.at(`language-${language}`).addEventListener('click', () => this.speak(language));
    }
    this.at('inputs').addEventListener('submit', (event) => event.preventDefault());
    this.at('print').addEventListener('click', () => this.root.defaultView.print());
    this.at('again').addEventListener('click', () => this.clear());
    this.listenToDrops();
    this.speak(this.language);
  }

  listenToDrops() {
    const { classList } = this.root.body;
    this.root.addEventListener('dragover', (event) => {
      event.preventDefault();
      classList.add('dragging');
    });
    this.root.addEventListener('dragleave', () => classList.remove('dragging'));
    this.root.addEventListener('drop', (event) => {
      event.preventDefault();
      classList.remove('dragging');
      const card = event.target.closest('.card');
      this.takeDropped([...event.dataTransfer.files], card?.id.replace('card-', ''));
    });
  }

  // --- What is given ---

  /** One file dropped on a card is for that card; others are told apart by what they are. */
  async takeDropped(files, kind) {
    const isFor = kind === 'beside' || (kind !== undefined && files.length === 1);
    const hasReceipt = this.given.receipt?.kind === 'receipt';
    const kinds = isFor ? files.map(() => kind) : await guessKinds(files, hasReceipt);
    const take = (slot) => this.takeFiles(slot, files.filter((_, at) => kinds[at] === slot));
    await Promise.all(SLOTS.filter((slot) => kinds.includes(slot)).map(take));
  }

  /** Of several files for a card that takes one, the last counts. */
  async takeFiles(kind, files) {
    if (kind === 'beside') await this.takeBeside(files);
    else await this.takeFile(kind, files[files.length - 1]);
  }

  /** Take all files that go beside; one that does not is told, and nothing verified meanwhile. */
  async takeBeside(files) {
    const isLatest = this.begin('beside');
    const taken = [];
    for (const file of files) {
      const name = quotedName(file.name);
      const bytes = await this.readSmall('beside', file, isLatest);
      if (bytes === null) return;
      const kind = kindOf(bytes);
      const isSecond = ONCE.includes(kind) && taken.some((each) => each.kind === kind);
      if (isSecond || !isBeside(kind)) {
        this.tell('beside', isSecond ? 'besideTwice' : 'besideOther', { name }, true);
        return;
      }
      try {
        taken.push({ name, ...readBeside(bytes) });
      } catch (error) {
        this.tell('beside', 'besideWrong', { name, why: error.message }, true);
        return;
      }
    }
    this.give('beside', taken, null, { files: taken });
  }

  async takeFile(kind, file) {
    const isLatest = this.begin(kind);
    const { size } = file;
    const name = quotedName(file.name);
    if (kind === 'document') {
      this.give(kind, { name, file, digests: new Map() }, 'chosen', { name, size });
      return;
    }
    const bytes = await this.readSmall(kind, file, isLatest);
    if (bytes === null) return;
    if (kind === 'receipt') this.takeReceipt(name, bytes);
    else await this.takeTrust(name, bytes, isLatest);
  }

  /** Return the bytes of a file, or null where it is too large, unreadable or not wanted any more. */
  async readSmall(kind, file, isLatest) {
    const name = quotedName(file.name);
    this.tell(kind, 'reading', { name });
    if (file.size > BYTES_MAX[kind]) {
      this.tell(kind, 'tooLarge', { name }, true);
      return null;
    }
    try {
      const bytes = await readBytes(file);
      return isLatest() ? bytes : null;
    } catch (error) {
      if (isLatest()) this.tell(kind, 'unreadable', { name, why: error.message }, true);
      return null;
    }
  }

  /** Take what is to be verified, or say what it is instead, and which command takes it. */
  takeReceipt(name, bytes) {
    const found = kindOf(bytes);
    const size = bytes.length;
    const kind = found in KINDS ? found : 'receipt';
    const receipt = { name, bytes, kind };
    if (found in OTHER_KINDS) this.tell('receipt', OTHER_KINDS[found], { name }, true);
    else if (found === null) this.give('receipt', receipt, 'isNothing', { name, size }, true);
    else this.give('receipt', receipt, 'given', { name, size, kind: KIND_NAMES[kind] });
  }

  async takeTrust(name, bytes, isLatest) {
    const found = kindOf(bytes);
    const kind = KIND_NAMES[found];
    if (found === 'marked') {
      this.tell('trust', OTHER_KINDS[found], { name }, true);
      return;
    }
    if (kind !== undefined) {
      this.tell('trust', 'trustOther', { name, kind }, true);
      return;
    }
    try {
      const trust = await loadTrust(bytes);
      if (isLatest()) this.give('trust', trust, 'trustGood', { trust });
    } catch (error) {
      if (isLatest()) this.tell('trust', 'trustWrong', { why: error.message }, true);
    }
  }

  takeText(text) {
    this.begin('receipt', 'text');
    if (text.trim() !== '') this.takeReceipt(quotedName(text.trim()), utf8(text));
  }

  takeDigest(text) {
    this.begin('document', 'digest');
    const digest = parseDigest(text);
    if (digest !== null)
      this.give('document', { name: digest, digest }, 'typed', { size: digest.length });
    else if (text.trim() !== '') this.tell('document', 'digestWrong', {}, true);
  }

  /**
   * Forget what was given of a kind, and the verdict; return what tells whether that still is the
   * latest. `entered` is the field it was entered in: others of the kind are emptied.
   */
  begin(kind, entered = `file-${kind}`) {
    this.turns[kind] += 1;
    const turn = this.turns[kind];
    delete this.given[kind];
    delete this.states[kind];
    for (const field of this.at(`card-${kind}`).querySelectorAll('input, textarea')) {
      if (field.id !== entered) field.value = '';
    }
    this.drawState(kind);
    this.dropVerdict();
    return () => turn === this.turns[kind];
  }

  give(kind, value, key, values, isWrong = false) {
    this.given[kind] = value;
    this.tell(kind, key, values, isWrong);
    this.verify();
  }

  // --- The verdict ---

  dropVerdict() {
    this.turns.verdict += 1;
    this.verdict = null;
    this.isBusy = false;
    this.drawVerdict();
  }

  /** Verify what is there, if it is all there. */
  async verify() {
    this.dropVerdict();
    const { document, receipt, trust } = this.given;
    if (receipt === undefined || trust === undefined || this.states.beside?.isWrong) return;
    const { algorithmOf, verify } = KINDS[receipt.kind];
    const isOfDocument = algorithmOf !== undefined;
    if (isOfDocument && document === undefined) return;
    const turn = this.turns.verdict;
    const isLatest = () => turn === this.turns.verdict;
    this.isBusy = true;
    this.drawVerdict();
    const { bytes, kind } = receipt;
    const digest = isOfDocument
      ? (document.digest ?? (await this.digestOf(document, algorithmOf(bytes), isLatest)))
      : undefined;
    if (digest === null || !isLatest()) return;
    const beside = gather(this.given.beside ?? []);
    const answer = await verify(bytes, trust, digest, BigInt(Date.now()), beside);
    if (!isLatest()) return;
    this.isBusy = false;
    const { name } = isOfDocument ? document : receipt;
    const idle = this.idleOf(receipt, beside, answer);
    const about = { name, trust, kind, idle, checked: new Date() };
    this.verdict = { answer, about };
    this.drawVerdict();
    this.at('result').focus();
  }

  /** Return what to say, each with its values, of what is given beside and had no say. */
  idleOf({ bytes, kind }, { standing, certificates, revocations }, { followed }) {
    if (kind !== 'receipt' && kind !== 'token')
      return this.given.beside === undefined ? [] : [['besideIdle', {}]];
    const found = standing !== null && !followed ? [['standingIdle', {}]] : [];
    const held = [...certificatesIn(bytes), ...certificates];
    const strangers = revocations.filter((list) => !concerns(list, held));
    return [...found, ...strangers.map(({ by }) => ['listIdle', { issuer: quotedName(by) }])];
  }

  /** Return the digest of a document by its algorithm, or null where it is not wanted any more. */
  async digestOf({ name, file, digests }, algorithm, isLatest) {
    if (digests.has(algorithm.name)) return digests.get(algorithm.name);
    const bar = this.at('progress-document');
    const showProgress = (part) => {
      if (!isLatest()) return;
      bar.value = part;
      bar.hidden = part === 1;
    };
    try {
      const found = await hashFile(file, algorithm, showProgress, isLatest);
      if (found === null) return null;
      const digest = `${algorithm.name}:${hex(found)}`;
      digests.set(algorithm.name, digest);
      this.tell('document', 'hashed', { name, size: file.size, digest });
      return digest;
    } catch (error) {
      if (!isLatest()) return null;
      this.begin('document');
      this.tell('document', 'unreadable', { name, why: error.message }, true);
      return null;
    }
  }

  // --- What is shown ---

  tell(kind, key, values, isWrong = false) {
    this.states[kind] = { key, values, isWrong };
    this.drawState(kind);
  }

  drawState(kind) {
    const state = this.states[kind];
    const { classList } = this.at(`card-${kind}`);
    classList.toggle('wrong', state?.isWrong === true);
    classList.toggle('has', state?.isWrong === false);
    if (kind === 'document') this.at('progress-document').hidden = true;
    this.at(`state-${kind}`).textContent = state === undefined ? '' : this.describe(state);
  }

  describe({ key, values }) {
    const tell = (name, filled) => say(this.language, name, filled);
    if (key === 'trustWrong' || key === 'besideWrong') {
      const why = this.language === 'en' ? values.why : tellRefusal(values.why);
      return tell(key, { ...values, why });
    }
    if ('files' in values) {
      return values.files.map(({ name, kind }) => `${name}: ${tell(KIND_NAMES[kind])}`).join('; ');
    }
    if ('kind' in values) return tell(key, { ...values, kind: tell(values.kind) });
    if (key !== 'trustGood') return tell(key, values);
    const { trust } = values;
    return tell(key, {
      chain: trust.genesis.name,
      epoch: trust.sets.length - 1,
      pin: pinOf(tell, trust),
      fingerprint: trust.fingerprint,
    });
  }

  drawVerdict() {
    const place = this.at('result');
    const has = this.verdict !== null;
    this.at('busy').textContent = this.isBusy ? say(this.language, 'checking') : '';
    place.hidden = !has;
    this.at('tools').hidden = !has;
    if (has) show(place, this.language, this.verdict.answer, this.verdict.about);
    else place.replaceChildren();
  }

  speak(language) {
    this.language = language;
    this.root.documentElement.lang = language === 'zh' ? 'zh-CN' : 'en';
    this.root.title = `${say(language, 'title')} - govchain 政链`;
    for (const element of this.root.querySelectorAll('[data-text]')) {
      element.textContent = say(language, element.dataset.text);
    }
    for (const each of Object.keys(TEXTS)) {
      this.at(`language-${each}`).setAttribute('aria-pressed', String(each === language));
    }
    SLOTS.forEach((kind) => this.drawState(kind));
    this.drawVerdict();
  }

  clear() {
    SLOTS.forEach((kind) => this.begin(kind));
    this.at('inputs').reset();
    this.at('file-document').focus();
  }
}
