// Sends what goes to port 3000 of localhost, where the suites look for a server, to the port of
// the server under test.
const net = require("node:net");
const port = Number(process.env.DJANGO_WS_PORT);
const connect = net.Socket.prototype.connect;
net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (options && Number(options.port) === 3000) {
    options.port = port;
    options.host = "127.0.0.1";
  }
  return connect.apply(this, args);
};
