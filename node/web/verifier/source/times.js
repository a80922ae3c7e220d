// Times: milliseconds since 1970 UTC, bigints, and how they are written.

import { need } from './refusal.js';

const YEAR_10000_MS = 253402300800000n;

/** Return ISO 8601 UTC with milliseconds, or the number and its unit past the year 9999. */
export function isoTime(time) {
  return time < YEAR_10000_MS ? new Date(Number(time)).toISOString() : `${time} ms`;
}

/** Return the content of a GeneralizedTime: a fraction only where there is one, no trailing zeros. */
export function generalizedTime(time) {
  need(time < YEAR_10000_MS, 'time', 'expected one before the year 10000');
  const [whole, fraction] = isoTime(time).slice(0, -1).split('.');
  const digits = fraction.replace(/0+$/, '');
  return `${whole.replace(/[-:T]/g, '')}${digits === '' ? '' : `.${digits}`}Z`;
}
