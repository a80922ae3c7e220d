// Times: milliseconds since 1970 UTC, bigints, and how they are written.

import { need } from './refusal.js';

const YEAR_10000_MS = 253402300800000n;
const CLOCK_ERROR_MS = 60000n;

/** Return ISO 8601 UTC with milliseconds, or the number and its unit past the year 9999. */
export function isoTime(time) {
  return time < YEAR_10000_MS ? new Date(Number(time)).toISOString() : `${time} ms`;
}

/** Refuse a time of more than a minute after the clock here; without a clock nothing is asked. */
export function checkPast(time, now) {
  need(now === undefined || time <= now + CLOCK_ERROR_MS, 'time-future', () => {
    return `expected at most ${isoTime(now)} by the clock here, got ${isoTime(time)}`;
  });
}

/** Return the content of a GeneralizedTime: a fraction only where there is one, no trailing zeros. */
export function generalizedTime(time) {
  need(time < YEAR_10000_MS, 'time', 'expected one before the year 10000');
  const [whole, fraction] = isoTime(time).slice(0, -1).split('.');
  const digits = fraction.replace(/0+$/, '');
  return `${whole.replace(/[-:T]/g, '')}${digits === '' ? '' : `.${digits}`}Z`;
}
