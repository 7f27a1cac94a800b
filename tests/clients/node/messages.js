// Messages with amqplib: bodies, properties, confirms, acknowledgements, limits, transactions by confirm, replies.
'use strict';

const { assert, bound, closed, collect, confirmed, connect, eventually, fresh, get, sleep, test } = require('./kit');

const send = (channel, queue, body, options = {}) => channel.sendToQueue(queue, Buffer.from(body), options);

exports['every property and every kind of header comes back'] = test(async (channel) => {
  const queue = await bound(channel);
  const options = {
    contentType: 'text/plain', contentEncoding: 'utf-8', persistent: true, priority: 3, correlationId: 'c', replyTo: 'r',
    expiration: '60000', messageId: 'm', timestamp: 1_700_000_000, type: 't', userId: 'guest', appId: 'a',
    headers: {
      text: 'Grüße 🦀', yes: true, none: null, byte: 7, short: -300, int: 70_000, long: 2 ** 40, double: 0.5,
      list: [1, 'two', [3]], nested: { deep: { er: 'x' } }, bytes: Buffer.from([0, 255]),
    },
  };
  send(channel, queue, 'x', options);
  const { properties } = await get(channel, queue);
  const { persistent, headers, ...plain } = options;
  for (const [name, value] of Object.entries(plain)) assert.deepEqual(properties[name], value, name);
  assert.equal(properties.deliveryMode, 2);
  assert.deepEqual(properties.headers, headers);
});

exports['bodies of all sizes come back'] = test(async (channel) => {
  const queue = await bound(channel);
  // Around the frame, which this client limits to 4096 octets with 8 of them around the payload.
  for (const size of [0, 1, 4087, 4088, 4089, 131_064, 131_065, 3_000_000]) {
    const body = Buffer.alloc(size, size % 251);
    send(channel, queue, body);
    assert.ok((await get(channel, queue)).content.equals(body), `${size} bytes`);
  }
});

exports['a message that is too large ends the channel'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  const [code, text] = await closed(connection, (other) => send(other, queue, Buffer.alloc(16 * 1024 * 1024 + 1)));
  assert.equal(code, 406);
  assert.equal(text, 'PRECONDITION_FAILED - message size 16777217 is larger than configured max size 16777216');
});

exports['order holds'] = confirmed(async (channel) => {
  const queue = await bound(channel);
  const bodies = Array.from({ length: 500 }, (_, i) => `${i}`);
  bodies.forEach((body) => send(channel, queue, body, { persistent: true }));
  await channel.waitForConfirms();
  const consumer = await collect(channel, queue, { noAck: true });
  await consumer.wait(500);
  assert.deepEqual(consumer.bodies(), bodies);
});

exports['confirms come for everything, also for what goes nowhere'] = confirmed(async (channel) => {
  const publish = (exchange, key, options) =>
    new Promise((resolve, reject) =>
      channel.publish(exchange, key, Buffer.from('x'), options, (error) => (error ? reject(error) : resolve())),
    );
  const queue = await bound(channel);
  const order = [];
  channel.on('return', () => order.push('return'));
  await Promise.all([
    publish('', queue, { persistent: true }),
    publish('', fresh('nowhere'), {}),
    publish('', fresh('nowhere'), { mandatory: true }).then(() => order.push('confirm')),
  ]);
  assert.deepEqual(order, ['return', 'confirm']);
});

exports['prefetch limits each consumer'] = test(async (channel) => {
  const queue = await bound(channel);
  for (let i = 0; i < 10; i++) send(channel, queue, `${i}`);
  await channel.prefetch(3);
  const first = await collect(channel, queue);
  await first.wait(3);
  await channel.prefetch(2);
  const second = await collect(channel, queue);
  await second.wait(2);
  await sleep(200);
  assert.deepEqual([first.bodies(), second.bodies()], [['0', '1', '2'], ['3', '4']]);
  channel.ack(first.taken[0]);
  await first.wait(4);
  assert.deepEqual(first.bodies(), ['0', '1', '2', '5']);
});

exports['prefetch of a channel counts all of its consumers'] = test(async (channel) => {
  const queue = await bound(channel);
  for (let i = 0; i < 10; i++) send(channel, queue, `${i}`);
  await channel.prefetch(3, true);
  const consumers = [await collect(channel, queue), await collect(channel, queue)];
  const taken = () => consumers.flatMap((consumer) => consumer.taken);
  await eventually('three', () => taken().length === 3);
  await sleep(200);
  assert.equal(taken().length, 3);
  channel.ackAll();
  await eventually('three more', () => taken().length === 6);
});

exports['what is requeued comes again, in its place, and says so'] = test(async (channel) => {
  const queue = await bound(channel);
  for (const body of ['a', 'b', 'c']) send(channel, queue, body);
  const first = await get(channel, queue, {});
  const second = await get(channel, queue, {});
  assert.deepEqual([first.fields.redelivered, second.fields.redelivered], [false, false]);
  channel.nack(second, true, true);
  const again = [await get(channel, queue, {}), await get(channel, queue, {}), await get(channel, queue, {})];
  assert.deepEqual(again.map(({ content }) => content.toString()), ['a', 'b', 'c']);
  assert.deepEqual(again.map(({ fields }) => fields.redelivered), [true, true, false]);
});

exports['what is not acknowledged comes again when its channel is closed'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  for (const body of ['a', 'b', 'c']) send(channel, queue, body);
  const other = await connection.createChannel();
  const consumer = await collect(other, queue);
  await consumer.wait(3);
  other.ack(consumer.taken[1]);
  await other.close();
  const again = [await get(channel, queue), await get(channel, queue)];
  assert.deepEqual(again.map(({ content }) => content.toString()), ['a', 'c']);
  assert.ok(again.every(({ fields }) => fields.redelivered));
});

exports['recover gives all back'] = test(async (channel) => {
  const queue = await bound(channel);
  for (const body of ['a', 'b']) send(channel, queue, body);
  await get(channel, queue, {});
  await get(channel, queue, {});
  await channel.recover();
  const again = [await get(channel, queue), await get(channel, queue)];
  assert.deepEqual(again.map(({ content, fields }) => [content.toString(), fields.redelivered]), [['a', true], ['b', true]]);
});

exports['acknowledging twice ends the channel'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  send(channel, queue, 'x');
  const found = await closed(connection, async (other) => {
    const message = await get(other, queue, {});
    other.ack(message);
    other.ack(message);
  });
  assert.deepEqual(found, [406, 'PRECONDITION_FAILED - unknown delivery tag 1']);
});

exports['an exclusive consumer is alone'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  const { consumerTag } = await collect(channel, queue, { exclusive: true });
  const text = `ACCESS_REFUSED - queue '${queue}' in vhost '/' in exclusive use`;
  assert.deepEqual(await closed(connection, (other) => other.consume(queue, () => {})), [403, text]);
  await channel.cancel(consumerTag);
  await collect(channel, queue);
});

exports['a tag is used once; to use it twice ends the connection'] = async () => {
  const connection = await connect();
  const error = new Promise((resolve) => connection.once('error', resolve));
  const channel = await connection.createChannel();
  channel.on('error', () => {});
  const { queue } = await channel.assertQueue('', { exclusive: true });
  await channel.consume(queue, () => {}, { consumerTag: 'mine' });
  await channel.consume(queue, () => {}, { consumerTag: 'mine' }).catch(() => {});
  const { code, message } = await error;
  assert.equal(code, 530);
  assert.match(message, /NOT_ALLOWED - attempt to reuse consumer tag 'mine'/);
};

exports['consumers with a higher priority come first'] = test(async (channel) => {
  const queue = await bound(channel);
  const low = await collect(channel, queue, { noAck: true, priority: -1 });
  const high = await collect(channel, queue, { noAck: true, priority: 5 });
  for (const body of ['a', 'b', 'c']) send(channel, queue, body);
  await high.wait(3);
  assert.deepEqual([high.bodies(), low.bodies()], [['a', 'b', 'c'], []]);
});

exports['whoever says who they are must not lie'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  const text = "PRECONDITION_FAILED - user_id property set to 'other' but authenticated user was 'guest'";
  assert.deepEqual(await closed(connection, (other) => send(other, queue, 'x', { userId: 'other' })), [406, text]);
});

exports['replies come straight back'] = test(async (channel, connection) => {
  const requests = await bound(channel);
  const server = await connection.createChannel();
  await server.consume(requests, ({ properties, content }) => {
    assert.match(properties.replyTo, /^amq\.rabbitmq\.reply-to\./);
    const { correlationId } = properties;
    server.sendToQueue(properties.replyTo, Buffer.from(`re: ${content}`), { correlationId });
  }, { noAck: true });
  const replies = await collect(channel, 'amq.rabbitmq.reply-to', { noAck: true });
  for (const id of ['1', '2']) {
    send(channel, requests, `question ${id}`, { replyTo: 'amq.rabbitmq.reply-to', correlationId: id });
  }
  await replies.wait(2);
  assert.deepEqual(replies.bodies().sort(), ['re: question 1', 're: question 2']);
});

exports['who wants replies must say so first, and not acknowledge them'] = test(async (channel, connection) => {
  const queue = await bound(channel);
  const early = await closed(connection, (other) => send(other, queue, 'x', { replyTo: 'amq.rabbitmq.reply-to' }));
  assert.deepEqual(early, [406, 'PRECONDITION_FAILED - fast reply consumer does not exist']);
  const acks = await closed(connection, (other) => other.consume('amq.rabbitmq.reply-to', () => {}, { noAck: false }));
  assert.deepEqual(acks, [406, 'PRECONDITION_FAILED - reply consumer cannot acknowledge']);
});
