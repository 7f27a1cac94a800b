// Connections with amqplib: coming in, staying, coming back, and being sent away.
'use strict';

const net = require('node:net');
const { BROKER, amqp, assert, connect, drain, eventually, fresh, sleep, test, within } = require('./kit');

const refused = (options, path, user) =>
  connect(options, path, user).then(
    () => assert.fail('not refused'),
    (error) => error.message,
  );

/** Stands between a client and the broker, and hangs up when it is told to. */
function relay() {
  const [host, port] = BROKER.split(':');
  const sockets = new Set();
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), host);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => {}).on('close', () => sockets.delete(socket));
    }
    client.pipe(upstream).pipe(client);
  });
  const cut = () => sockets.forEach((socket) => socket.destroy());
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve({ server, cut, port: server.address().port })));
}

exports['the server says what it can'] = test(async (_, connection) => {
  const { capabilities, product } = connection.connection.serverProperties;
  assert.equal(product, 'RabbitMQ');
  for (const capability of ['publisher_confirms', 'basic.nack', 'consumer_cancel_notify', 'connection.blocked']) {
    assert.equal(capabilities[capability], true, capability);
  }
});

exports['a wrong password is refused'] = async () => {
  const text = await refused({}, '', 'guest:wrong');
  assert.match(text, /403 \(ACCESS-REFUSED\)/);
  assert.match(text, /Login was refused using authentication mechanism PLAIN/);
};

exports['AMQPLAIN is taken, and refused like PLAIN'] = async () => {
  const login = (password) => connect({ credentials: amqp.credentials.amqplain('guest', password) });
  await (await login('guest')).close();
  await assert.rejects(login('wrong'), /Login was refused using authentication mechanism AMQPLAIN/);
};

exports['an unknown virtual host is refused'] = async () => {
  // The client does not tell the text.
  assert.equal(await refused({}, 'nowhere'), 'Expected ConnectionOpenOk; got <ConnectionClose channel:0>');
};

exports['a secret can be updated'] = test(async (channel, connection) => {
  await connection.updateSecret(Buffer.from('guest'), 'it is time');
  assert.ok((await channel.assertQueue('', { exclusive: true })).queue);
});

exports['heartbeats keep a quiet connection'] = async () => {
  const connection = await connect({}, '?heartbeat=1');
  await sleep(4000);
  await connection.createChannel();
  await connection.close();
};

exports['a connection has as many channels as were agreed on'] = async () => {
  const connection = await connect({}, '?channelMax=3');
  for (let i = 0; i < 3; i++) await connection.createChannel();
  await assert.rejects(async () => connection.createChannel(), /No channels left/);
  await connection.close();
};

exports['a channel that was opened for an error leaves the others alone'] = test(async (channel, connection) => {
  const other = await connection.createChannel();
  other.on('error', () => {});
  await assert.rejects(other.checkQueue(fresh('nowhere')), /404 \(NOT-FOUND\)/);
  assert.equal((await channel.assertQueue('', { exclusive: true })).messageCount, 0);
});

exports['a client that lost its connection comes back and finds its queue'] = async () => {
  const between = await relay();
  const options = { recovery: { initialDelay: 10, maxDelay: 100 } };
  const connection = await amqp.connect(`amqp://guest:guest@127.0.0.1:${between.port}`, options);
  connection.on('error', () => {});
  const queue = fresh('queue');
  const first = await connection.createConfirmChannel();
  first.on('error', () => {});
  await first.assertQueue(queue);
  first.sendToQueue(queue, Buffer.from('before'), { persistent: true });
  await first.waitForConfirms();
  between.cut();
  const second = await eventually('a channel of the new connection', () => attempt(connection, queue));
  second.sendToQueue(queue, Buffer.from('after'), { persistent: true });
  await second.waitForConfirms();
  assert.deepEqual(await drain(second, queue), ['before', 'after']);
  await second.deleteQueue(queue);
  await connection.close();
  between.server.close();
};

async function attempt(connection, queue) {
  try {
    const channel = await within(connection.createConfirmChannel(), 'a channel', 2000);
    channel.on('error', () => {});
    await channel.checkQueue(queue);
    return channel;
  } catch {
    return null;
  }
}
