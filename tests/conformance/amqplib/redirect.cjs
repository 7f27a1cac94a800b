// Half of the tests connect to the port of AMQP, whatever they are told: lets that be the port in `URL`.
const net = require('node:net');

const port = Number(new URL(process.env.URL).port);
const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options && Number(options.port) === 5672) options.port = port;
  return connect.apply(this, given);
};
