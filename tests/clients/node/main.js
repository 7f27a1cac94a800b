// Runs every test and prints one line for each: `ok NAME` or `FAIL NAME: why`.
//
// The broker's address comes from ANNALS_AMQP; an argument runs only the tests whose name contains it.
'use strict';

const tests = [
  ...Object.entries(require('./connections')),
  ...Object.entries(require('./exchanges')),
  ...Object.entries(require('./queues')),
  ...Object.entries(require('./messages')),
];

// Most tests wait for the broker and not for the processor, so a few at once shorten the run.
const AT_ONCE = 3;
const LIMIT_MS = 60_000;

async function run(name, test) {
  const end = new AbortController();
  const limit = new Promise((_, reject) => {
    const timer = setTimeout(() => reject(new Error(`not finished within ${LIMIT_MS} ms`)), LIMIT_MS);
    end.signal.addEventListener('abort', () => clearTimeout(timer));
  });
  try {
    await Promise.race([test(), limit]);
    console.log(`ok ${name}`);
    return true;
  } catch (error) {
    console.log(`FAIL ${name}: ${String(error).replaceAll('\n', ' ')}`);
    console.error(error);
    return false;
  } finally {
    end.abort();
  }
}

async function main(filter) {
  const waiting = tests.filter(([name]) => name.includes(filter));
  let passed = true;
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      passed = (await run(...next)) && passed;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  process.exit(passed ? 0 : 1);
}

main(process.argv[2] ?? '');
