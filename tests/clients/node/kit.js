// What all tests use: connections to the broker under test, fresh names, waiting with a limit, errors as the broker tells them.
'use strict';

const assert = require('node:assert/strict');
const { randomUUID } = require('node:crypto');
const amqp = require('amqplib');

const BROKER = process.env.ANNALS_AMQP;
const WITHIN_MS = 20_000;

const fresh = (prefix) => `${prefix}-${randomUUID().replaceAll('-', '').slice(0, 12)}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function connect(options = {}, path = '', user = 'guest:guest') {
  return amqp.connect(`amqp://${user}@${BROKER}/${path}`, options);
}

/** Makes a test: opens a connection and a channel for it, and closes the connection afterwards. */
function test(body, kind = 'createChannel') {
  return async () => {
    const connection = await connect();
    connection.on('error', () => {});
    try {
      const channel = await connection[kind]();
      channel.on('error', () => {});
      await body(channel, connection);
    } finally {
      await connection.close().catch(() => {});
    }
  };
}

/** As `test`, with a channel whose publishes are confirmed. */
const confirmed = (body) => test(body, 'createConfirmChannel');

/** A queue with a fresh name, and an exchange that it is bound to if one is given. */
async function bound(channel, exchange, key = '', args = {}) {
  const { queue } = await channel.assertQueue(fresh('queue'), { durable: true, autoDelete: false });
  if (exchange) await channel.bindQueue(queue, exchange, key, args);
  return queue;
}

/** Asks until the answer is truthy. */
async function eventually(what, check, within_ms = WITHIN_MS) {
  const deadline = Date.now() + within_ms;
  for (;;) {
    const found = await check();
    if (found) return found;
    assert.ok(Date.now() < deadline, `in time: ${what}`);
    await sleep(20);
  }
}

/** Fetches one message; fails if none comes. */
const get = (channel, queue, options = { noAck: true }) =>
  eventually(`a message in ${queue}`, () => channel.get(queue, options));

/** The bodies of all messages in a queue, which is then empty. */
async function drain(channel, queue) {
  const bodies = [];
  for (let next = await channel.get(queue, { noAck: true }); next; next = await channel.get(queue, { noAck: true })) {
    bodies.push(next.content.toString());
  }
  return bodies;
}

/** A consumer whose deliveries are collected. */
async function collect(channel, queue, options = {}) {
  const taken = [];
  const { consumerTag } = await channel.consume(queue, (message) => taken.push(message), options);
  const bodies = () => taken.map((message) => message.content.toString());
  const wait = (count) => eventually(`${count} deliveries`, () => taken.length >= count && taken);
  return { taken, bodies, wait, consumerTag };
}

/** The code and the text that the broker closes a channel of its own with, whatever `work` does on it. */
async function closed(connection, work) {
  const channel = await connection.createChannel();
  const error = new Promise((resolve) => channel.once('error', resolve));
  await Promise.resolve(work(channel)).catch(() => {});
  const { code, message } = await within(error, 'an error of the channel');
  return [code, message.match(/message "(.*)"$/s)?.[1] ?? message];
}

/** Waits for a promise, but not for ever. */
function within(promise, what, within_ms = WITHIN_MS) {
  const late = sleep(within_ms).then(() => assert.fail(`in time: ${what}`));
  return Promise.race([promise, late]);
}

module.exports = { BROKER, assert, amqp, bound, closed, collect, confirmed, connect, drain, eventually, fresh, get, sleep, test, within };
