// Lets the page breathe: long verifications give way to it now and then.

const TURN_MS = 40;
let turnBegan = 0;

/** Wait for the page to draw itself, if it did not for a while. */
export async function breathe() {
  if (performance.now() - turnBegan < TURN_MS) return;
  await new Promise((resolve) => setTimeout(resolve, 0));
  turnBegan = performance.now();
}
