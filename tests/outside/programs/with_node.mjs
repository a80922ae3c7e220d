// Runs the script of the HTML verifier under Node, which gives it no page and no network:
//   node with_node.mjs PAGE <cases >answers
// A line of JSON each. A case is {trust} or {trust, receipt, document, now, beside}, trust and receipt
// base64, as are the files beside, and now (ms since 1970 UTC) only where a clock is to be asked; or
// {detail, passed}, which is to be told in Chinese; {file}, base64, of which the kind is asked; or
// {primitive, arguments}, of which a string is bytes in hex, {number} a bigint and {text} a text.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { runInThisContext } from 'node:vm';

const page = readFileSync(process.argv[2], 'utf8');
const script = page.slice(
  page.indexOf('<script>') + '<script>'.length,
  page.lastIndexOf('</script>'),
);
runInThisContext(script);
const { kindOf, loadTrust, primitives, tellDetail, verify: verifyAny } = globalThis.govchainVerifier;
const trusted = new Map();

const bytesOf = (text) => Uint8Array.from(Buffer.from(text, 'base64'));

async function loadOnce(text) {
  if (!trusted.has(text)) {
    const refuse = (error) => ({ refused: error.message });
    trusted.set(text, await loadTrust(bytesOf(text)).catch(refuse));
  }
  return trusted.get(text);
}

function argumentOf(value) {
  if (Array.isArray(value)) return value.map(argumentOf);
  if (typeof value === 'string') return Uint8Array.from(Buffer.from(value, 'hex'));
  return 'number' in value ? BigInt(value.number) : (value.text ?? value.size);
}

function callPrimitive(name, values) {
  try {
    return { value: primitives[name](...values.map(argumentOf)) };
  } catch (error) {
    return { refused: error.message };
  }
}

async function answer(line) {
  const { primitive, arguments: values } = line;
  if ('detail' in line) return { told: tellDetail('zh', line) };
  if ('file' in line) return { kind: kindOf(bytesOf(line.file)) };
  return primitive === undefined ? verify(line) : callPrimitive(primitive, values);
}

async function verify({ trust: text, receipt, document, now, beside = [] }) {
  const trust = await loadOnce(text);
  if (receipt === undefined || 'refused' in trust) return { refused: trust.refused ?? null };
  const bytes = bytesOf(receipt);
  const clock = now === undefined ? undefined : BigInt(now);
  try {
    const files = beside.map(bytesOf);
    return { kind: kindOf(bytes), ...(await verifyAny(bytes, trust, document, clock, files)) };
  } catch (error) {
    return { refused: error.message }; // a file beside it that cannot be read
  }
}

function plain(_, value) {
  if (typeof value === 'bigint') return Number(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await answer(JSON.parse(line)), plain));
}
