// Verification in numbered steps: the first that fails ends it.

import { breathe } from './pause.js';
import { NotRooted, Refused } from './refusal.js';

/** How the detail of a step begins that failed for what nobody thought of. It passes nothing. */
const UNFORESEEN = 'unforeseen';

/**
 * Take steps by their names until one fails. `take` returns what a step found, or throws. A step
 * is reported as {number, name, passed, detail}.
 */
export async function takeSteps(names, take) {
  const steps = [];
  for (const [at, name] of names.entries()) {
    await breathe();
    try {
      steps.push({ number: at + 1, name, passed: true, detail: await take(name) });
    } catch (error) {
      const isKnown = error instanceof Refused || error instanceof NotRooted;
      const detail = isKnown ? error.message : `${UNFORESEEN}: ${error}`;
      steps.push({ number: at + 1, name, passed: false, detail });
      return { outcome: error instanceof NotRooted ? 'not rooted' : 'not verified', steps };
    }
  }
  return { outcome: 'verified', steps };
}
