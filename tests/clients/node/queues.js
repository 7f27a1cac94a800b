// Queues with amqplib: what they are, what they keep, and what becomes of messages.
'use strict';

const { assert, bound, closed, collect, confirmed, connect, drain, eventually, fresh, get, test } = require('./kit');

async function declare(channel, options = {}) {
  return (await channel.assertQueue(fresh('queue'), options)).queue;
}

const send = (channel, queue, body, options = {}) => channel.sendToQueue(queue, Buffer.from(body), options);
const depth = async (channel, queue) => (await channel.checkQueue(queue)).messageCount;

exports['a queue is declared, counted, purged and deleted'] = confirmed(async (channel, connection) => {
  const queue = await declare(channel);
  for (let i = 0; i < 5; i++) send(channel, queue, `${i}`);
  await channel.waitForConfirms();
  assert.deepEqual(await channel.checkQueue(queue), { queue, messageCount: 5, consumerCount: 0 });
  assert.deepEqual(await channel.purgeQueue(queue), { messageCount: 5 });
  send(channel, queue, 'x');
  await channel.waitForConfirms();
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 1 });
  assert.deepEqual(await channel.deleteQueue(queue), { messageCount: 0 }, 'what is not there is deleted');
  const text = `NOT_FOUND - no queue '${queue}' in vhost '/'`;
  assert.deepEqual(await closed(connection, (other) => other.checkQueue(queue)), [404, text]);
});

exports['the server chooses a name, which then needs not be said'] = test(async (channel, connection) => {
  const { queue } = await channel.assertQueue('', { exclusive: true });
  assert.match(queue, /^amq\.gen-[A-Za-z0-9_-]{22}$/);
  send(channel, queue, 'x');
  assert.equal((await get(channel, '')).content.toString(), 'x');
  const text = "NOT_FOUND - no previously declared queue";
  assert.deepEqual(await closed(connection, (other) => other.purgeQueue('')), [404, text]);
});

exports['an exclusive queue belongs to its connection and goes with it'] = test(async (channel, connection) => {
  const other = await connect();
  const owner = await other.createChannel();
  const queue = await declare(owner, { exclusive: true });
  const text =
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${queue}' in vhost '/'. It could be originally ` +
    'declared on another connection or the exclusive property value does not match that of the original declaration.';
  for (const work of [
    (c) => c.checkQueue(queue),
    (c) => c.consume(queue, () => {}),
    (c) => c.get(queue),
    (c) => c.purgeQueue(queue),
    (c) => c.deleteQueue(queue),
    (c) => c.assertQueue(queue, { exclusive: true }),
    (c) => c.bindQueue(queue, 'amq.direct', 'k'),
  ]) {
    assert.deepEqual(await closed(connection, work), [405, text]);
  }
  await other.close();
  const gone = await closed(connection, (c) => c.checkQueue(queue));
  assert.deepEqual(gone, [404, `NOT_FOUND - no queue '${queue}' in vhost '/'`]);
  assert.ok(channel);
});

exports['an auto-delete queue goes with its last consumer'] = test(async (channel, connection) => {
  const queue = await declare(channel, { autoDelete: true });
  const first = await collect(channel, queue);
  const second = await collect(channel, queue);
  await channel.cancel(first.consumerTag);
  await channel.checkQueue(queue);
  await channel.cancel(second.consumerTag);
  assert.equal((await closed(connection, (other) => other.checkQueue(queue)))[0], 404);
});

exports['another declaration is refused'] = test(async (channel, connection) => {
  const queue = await declare(channel, { durable: true, maxLength: 5, messageTtl: 60_000 });
  const about = (field) => `PRECONDITION_FAILED - inequivalent arg '${field}' for queue '${queue}' in vhost '/': `;
  const cases = [
    [{ durable: false, maxLength: 5, messageTtl: 60_000 }, `${about('durable')}received 'false' but current is 'true'`],
    [{ autoDelete: true, maxLength: 5, messageTtl: 60_000 }, `${about('auto_delete')}received 'true' but current is 'false'`],
    [{ maxLength: 6, messageTtl: 60_000 }, `${about('x-max-length')}received '6' but current is '5'`],
    [
      { maxLength: 5 },
      `${about('x-message-ttl')}received none but current is the value '60000' of type 'signedint'`,
    ],
    [
      { maxLength: 5, messageTtl: 60_000, expires: 60_000 },
      `${about('x-expires')}received the value '60000' of type 'signedint' but current is none`,
    ],
  ];
  for (const [options, text] of cases) {
    assert.deepEqual(await closed(connection, (other) => other.assertQueue(queue, options)), [406, text]);
  }
  assert.equal((await channel.assertQueue(queue, { maxLength: 5, messageTtl: 60_000 })).queue, queue);
});

exports['a name of the server is refused'] = test(async (_, connection) => {
  const text = "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'";
  assert.deepEqual(await closed(connection, (other) => other.assertQueue('amq.mine')), [403, text]);
});

exports['a queue in use, or one that is not empty, stays if that is asked for'] = confirmed(async (channel, connection) => {
  const queue = await declare(channel);
  const shown = `PRECONDITION_FAILED - queue '${queue}' in vhost '/'`;
  send(channel, queue, 'x');
  await channel.waitForConfirms();
  const notEmpty = await closed(connection, (other) => other.deleteQueue(queue, { ifEmpty: true }));
  assert.deepEqual(notEmpty, [406, `${shown} not empty`]);
  await collect(channel, queue);
  const inUse = await closed(connection, (other) => other.deleteQueue(queue, { ifUnused: true }));
  assert.deepEqual(inUse, [406, `${shown} in use`]);
});

/** A queue, and the one that its dead letters go to. */
async function withDeadLetters(channel, options) {
  const exchange = (await channel.assertExchange(fresh('dlx'), 'fanout')).exchange;
  const dead = await bound(channel, exchange);
  return [await declare(channel, { deadLetterExchange: exchange, ...options }), dead, exchange];
}

exports['a rejected message is dead-lettered with its history'] = test(async (channel) => {
  const [queue, dead] = await withDeadLetters(channel, { deadLetterRoutingKey: 'dead' });
  send(channel, queue, 'x', { headers: { mine: 1 }, messageId: 'm' });
  channel.reject(await get(channel, queue, {}), false);
  const { fields, properties } = await get(channel, dead);
  const { 'x-death': [death, ...more], mine, ...headers } = properties.headers;
  assert.deepEqual([fields.routingKey, fields.redelivered, mine, more.length], ['dead', false, 1, 0]);
  const { time, ...rest } = death;
  assert.equal(time['!'], 'timestamp');
  assert.deepEqual(rest, { count: 1, exchange: '', queue, reason: 'rejected', 'routing-keys': [queue] });
  assert.equal(headers['x-first-death-queue'], queue);
  assert.equal(headers['x-first-death-reason'], 'rejected');
  assert.equal(headers['x-first-death-exchange'], '');
});

exports['a message that is rejected again and again counts its deaths'] = test(async (channel) => {
  const exchange = (await channel.assertExchange(fresh('dlx'), 'direct')).exchange;
  const work = await declare(channel, { deadLetterExchange: exchange, deadLetterRoutingKey: 'wait' });
  const wait = await declare(channel, { deadLetterExchange: '', deadLetterRoutingKey: work, messageTtl: 30 });
  await channel.bindQueue(wait, exchange, 'wait');
  send(channel, work, 'x');
  for (let round = 0; round < 3; round++) {
    const message = await get(channel, work, {});
    const deaths = message.properties.headers['x-death'] ?? [];
    const counts = Object.fromEntries(deaths.map(({ queue, reason, count }) => [`${queue} ${reason}`, count]));
    const expected = round === 0 ? {} : { [`${work} rejected`]: round, [`${wait} expired`]: round };
    assert.deepEqual(counts, expected);
    channel.nack(message, false, false);
  }
});

exports['a message expires by the time to live of its queue'] = test(async (channel) => {
  const [queue, dead] = await withDeadLetters(channel, { messageTtl: 50 });
  send(channel, queue, 'x');
  const { properties } = await get(channel, dead);
  assert.equal(properties.headers['x-death'][0].reason, 'expired');
  assert.equal(properties.headers['x-death'][0]['original-expiration'], undefined);
});

exports['a message expires by its own time to live, and then has none'] = test(async (channel) => {
  const [queue, dead] = await withDeadLetters(channel, {});
  send(channel, queue, 'x', { expiration: '50' });
  const { properties } = await get(channel, dead);
  assert.equal(properties.headers['x-death'][0]['original-expiration'], '50');
  assert.equal(properties.expiration, undefined);
});

exports['a time to live that is none is refused'] = test(async (channel, connection) => {
  const queue = await declare(channel);
  const [code, text] = await closed(connection, (other) => send(other, queue, 'x', { expiration: 'soon' }));
  assert.deepEqual([code, text], [406, "PRECONDITION_FAILED - invalid expiration 'soon': no_integer"]);
});

exports['a length limit drops the oldest'] = confirmed(async (channel) => {
  const [queue, dead] = await withDeadLetters(channel, { maxLength: 2 });
  for (const body of ['a', 'b', 'c']) send(channel, queue, body);
  await channel.waitForConfirms();
  const { properties, content } = await get(channel, dead);
  assert.deepEqual([content.toString(), properties.headers['x-death'][0].reason], ['a', 'maxlen']);
  assert.deepEqual(await drain(channel, queue), ['b', 'c']);
});

exports['a full queue refuses if it is to'] = confirmed(async (channel) => {
  const queue = await declare(channel, { maxLength: 1, arguments: { 'x-overflow': 'reject-publish' } });
  const publish = (body) =>
    new Promise((resolve) => channel.sendToQueue(queue, Buffer.from(body), {}, (error) => resolve(error === null)));
  assert.equal(await publish('a'), true);
  assert.equal(await publish('b'), false);
  assert.deepEqual(await drain(channel, queue), ['a']);
});

exports['higher priorities come first'] = confirmed(async (channel) => {
  const queue = await declare(channel, { maxPriority: 5 });
  for (const [body, priority] of [['a', 0], ['b', 5], ['c', 9], ['d', 3]]) send(channel, queue, body, { priority });
  send(channel, queue, 'e');
  await channel.waitForConfirms();
  assert.deepEqual(await drain(channel, queue), ['b', 'c', 'd', 'a', 'e']);
});

exports['a queue that nobody uses expires'] = test(async (channel, connection) => {
  const queue = await declare(channel, { expires: 200 });
  await eventually('the queue to be gone', async () => {
    const other = await connection.createChannel();
    other.on('error', () => {});
    const there = await other.assertQueue(queue, { expires: 200, autoDelete: true }).then(() => true, () => false);
    if (there) await other.deleteQueue(queue);
    return there;
  });
});

exports['one active consumer at a time'] = test(async (channel) => {
  const queue = await declare(channel, { arguments: { 'x-single-active-consumer': true } });
  const first = await collect(channel, queue, { noAck: true });
  const second = await collect(channel, queue, { noAck: true });
  send(channel, queue, 'a');
  await first.wait(1);
  await channel.cancel(first.consumerTag);
  send(channel, queue, 'b');
  await second.wait(1);
  assert.deepEqual([first.bodies(), second.bodies()], [['a'], ['b']]);
});

exports['a consumer is told that its queue is gone'] = test(async (channel) => {
  const queue = await declare(channel);
  const consumer = await collect(channel, queue);
  await channel.deleteQueue(queue);
  assert.deepEqual(await consumer.wait(1), [null]);
});

exports['depth counts what is ready'] = confirmed(async (channel) => {
  const queue = await declare(channel);
  send(channel, queue, 'a');
  send(channel, queue, 'b');
  await channel.waitForConfirms();
  const taken = await get(channel, queue, {});
  assert.equal(taken.fields.messageCount, 1);
  assert.equal(await depth(channel, queue), 1);
  channel.nack(taken);
  assert.equal(await eventually('both', async () => (await depth(channel, queue)) === 2), true);
});
