// Exchanges with amqplib: where messages go, and what is refused.
'use strict';

const { assert, bound, closed, drain, eventually, fresh, get, test } = require('./kit');

async function exchange(channel, type, options = {}) {
  return (await channel.assertExchange(fresh(type), type, options)).exchange;
}

const send = (channel, name, key, body, options = {}) => channel.publish(name, key, Buffer.from(body), options);

/** The bodies in each queue, once a message that goes everywhere has come, so that all before it have. */
async function contents(channel, queues) {
  const found = [];
  for (const queue of queues) {
    channel.sendToQueue(queue, Buffer.from('end'));
    await eventually('the end', async () => (await channel.checkQueue(queue)).messageCount > 0);
    found.push((await drain(channel, queue)).filter((body) => body !== 'end').sort());
  }
  return found;
}

exports['direct goes by the same key'] = test(async (channel) => {
  const name = await exchange(channel, 'direct');
  const queues = [await bound(channel, name, 'red'), await bound(channel, name, 'blue')];
  send(channel, name, 'red', 'a');
  send(channel, name, 'blue', 'b');
  send(channel, name, 'green', 'c');
  assert.deepEqual(await contents(channel, queues), [['a'], ['b']]);
});

exports['fanout goes to everybody, once'] = test(async (channel) => {
  const name = await exchange(channel, 'fanout');
  const queues = [await bound(channel, name, 'x'), await bound(channel, name)];
  await channel.bindQueue(queues[0], name, 'y');
  send(channel, name, 'whatever', 'a');
  assert.deepEqual(await contents(channel, queues), [['a'], ['a']]);
});

exports['topic goes by words'] = test(async (channel) => {
  const name = await exchange(channel, 'topic');
  const patterns = ['a.*.c', 'a.#', '#', '*', 'a.b'];
  const queues = [];
  for (const pattern of patterns) queues.push(await bound(channel, name, pattern));
  for (const key of ['a.b.c', 'a', 'a.b', 'b', '']) send(channel, name, key, `<${key}>`);
  // An empty key is one empty word to RabbitMQ's splitter, and none at all: it matches `#` only.
  const [one, two, three, four, five] = await contents(channel, queues);
  assert.deepEqual(one, ['<a.b.c>']);
  assert.deepEqual(two, ['<a.b.c>', '<a.b>', '<a>']);
  assert.deepEqual(three, ['<>', '<a.b.c>', '<a.b>', '<a>', '<b>']);
  assert.deepEqual(four, ['<a>', '<b>']);
  assert.deepEqual(five, ['<a.b>']);
});

exports['headers go by headers'] = test(async (channel) => {
  const name = await exchange(channel, 'headers');
  const args = { colour: 'red', size: 3 };
  const all = await bound(channel, name, '', { 'x-match': 'all', ...args });
  const any = await bound(channel, name, '', { 'x-match': 'any', ...args });
  send(channel, name, '', 'both', { headers: { colour: 'red', size: 3, more: true } });
  send(channel, name, '', 'one', { headers: { colour: 'red', size: 4 } });
  send(channel, name, '', 'none', { headers: { colour: 'blue' } });
  assert.deepEqual(await contents(channel, [all, any]), [['both'], ['both', 'one']]);
});

exports['exchanges feed each other until they are unbound'] = test(async (channel) => {
  const [source, middle] = [await exchange(channel, 'topic'), await exchange(channel, 'fanout')];
  const queue = await bound(channel, middle);
  await channel.bindExchange(middle, source, 'a.#');
  send(channel, source, 'a.b', 'through');
  send(channel, source, 'b', 'not');
  assert.deepEqual(await contents(channel, [queue]), [['through']]);
  await channel.unbindExchange(middle, source, 'a.#');
  send(channel, source, 'a.b', 'not');
  assert.deepEqual(await contents(channel, [queue]), [[]]);
});

exports['an alternate exchange gets what nobody wants'] = test(async (channel) => {
  const rest = await exchange(channel, 'fanout');
  const name = await exchange(channel, 'direct', { alternateExchange: rest });
  const queues = [await bound(channel, name, 'known'), await bound(channel, rest)];
  send(channel, name, 'known', 'a');
  send(channel, name, 'unknown', 'b');
  assert.deepEqual(await contents(channel, queues), [['a'], ['b']]);
});

exports['what goes nowhere comes back if it is mandatory'] = test(async (channel) => {
  const name = await exchange(channel, 'direct');
  const returned = new Promise((resolve) => channel.once('return', resolve));
  send(channel, name, 'nowhere', 'not mandatory');
  send(channel, name, 'nowhere', 'mandatory', { mandatory: true, messageId: 'm' });
  const { fields, properties, content } = await returned;
  assert.deepEqual([fields.replyCode, fields.replyText], [312, 'NO_ROUTE']);
  assert.deepEqual([fields.exchange, fields.routingKey], [name, 'nowhere']);
  assert.deepEqual([properties.messageId, content.toString()], ['m', 'mandatory']);
});

exports['copies go where CC and BCC say'] = test(async (channel) => {
  const [to, cc, bcc] = [await bound(channel), await bound(channel), await bound(channel)];
  channel.sendToQueue(to, Buffer.from('x'), { CC: cc, BCC: [bcc] });
  for (const queue of [to, cc, bcc]) {
    const { properties } = await get(channel, queue);
    assert.deepEqual(properties.headers.CC, [cc]);
    assert.equal(properties.headers.BCC, undefined, 'nobody sees the blind copies');
  }
});

exports['an auto-delete exchange goes with its last binding'] = test(async (channel, connection) => {
  const name = await exchange(channel, 'fanout', { autoDelete: true });
  const queue = await bound(channel, name);
  await channel.checkExchange(name);
  await channel.unbindQueue(queue, name, '');
  const text = `NOT_FOUND - no exchange '${name}' in vhost '/'`;
  assert.deepEqual(await closed(connection, (other) => other.checkExchange(name)), [404, text]);
});

exports['an internal exchange is not published to'] = test(async (channel, connection) => {
  const name = await exchange(channel, 'fanout', { internal: true });
  const text = `ACCESS_REFUSED - cannot publish to internal exchange '${name}' in vhost '/'`;
  assert.deepEqual(await closed(connection, (other) => send(other, name, '', 'x')), [403, text]);
});

exports['publishing to an exchange that is not there ends the channel'] = test(async (_, connection) => {
  const text = "NOT_FOUND - no exchange 'nowhere' in vhost '/'";
  assert.deepEqual(await closed(connection, (other) => send(other, 'nowhere', '', 'x')), [404, text]);
});

exports['exchanges are refused as RabbitMQ refuses them'] = test(async (channel, connection) => {
  const name = await exchange(channel, 'direct', { durable: false });
  const shown = `exchange '${name}' in vhost '/'`;
  const cases = [
    [(c) => c.checkExchange('nowhere'), 404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'"],
    [
      (c) => c.assertExchange(name, 'fanout', { durable: false }),
      406,
      `PRECONDITION_FAILED - inequivalent arg 'type' for ${shown}: received 'fanout' but current is 'direct'`,
    ],
    [
      (c) => c.assertExchange(name, 'direct', { durable: true }),
      406,
      `PRECONDITION_FAILED - inequivalent arg 'durable' for ${shown}: received 'true' but current is 'false'`,
    ],
    [
      (c) => c.assertExchange('amq.mine', 'direct'),
      403,
      "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'",
    ],
    [
      (c) => c.bindQueue('nowhere', name, ''),
      404,
      "NOT_FOUND - no queue 'nowhere' in vhost '/'",
    ],
    [
      (c) => c.bindExchange(name, 'nowhere', ''),
      404,
      "NOT_FOUND - no exchange 'nowhere' in vhost '/'",
    ],
    [(c) => c.deleteExchange(''), 403, 'ACCESS_REFUSED - operation not permitted on the default exchange'],
    [
      (c) => c.assertExchange('amq.direct', 'direct', { durable: false }),
      406,
      "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'amq.direct' in vhost '/': " +
        "received 'false' but current is 'true'",
    ],
  ];
  for (const [work, code, text] of cases) assert.deepEqual(await closed(connection, work), [code, text]);
});

exports['an exchange in use stays if that is asked for'] = test(async (channel, connection) => {
  const name = await exchange(channel, 'direct');
  await bound(channel, name, 'k');
  const text = `PRECONDITION_FAILED - exchange '${name}' in vhost '/' in use`;
  const found = await closed(connection, (other) => other.deleteExchange(name, { ifUnused: true }));
  assert.deepEqual(found, [406, text]);
  await channel.deleteExchange(name);
});
