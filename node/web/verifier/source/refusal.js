// How a verification ends before its last step: something is wrong, or nothing leads to it.

/** A rule is broken. `rule` names it as the command line does; what was met follows. */
export class Refused extends Error {
  constructor(rule, detail) {
    super(detail === undefined ? rule : `${rule}: ${detail}`);
    this.rule = rule;
  }
}

/** The trust file does not lead there; nothing is known to be wrong. */
export class NotRooted extends Error {}

/** Refuse unless a condition holds. `detail` may be a function: most are never asked for. */
export function need(condition, rule, detail) {
  if (!condition) throw new Refused(rule, typeof detail === 'function' ? detail() : detail);
}

/** Refuse unless both are the same; numbers, strings and what is shown of bytes. */
export function needEqual(rule, expected, got) {
  need(expected === got, rule, () => `expected ${expected}, got ${got}`);
}
