// What the client library of Socket.IO sees; the transports are the arguments.
const assert = require("node:assert");
const { io } = require("socket.io-client");

const transports = process.argv.slice(2);
const url = `http://127.0.0.1:${process.env.DJANGO_WS_PORT}`;
const options = { transports, auth: { token: "t" } };
const once = (socket, event) => new Promise((resolve) => socket.once(event, (...a) => resolve(a)));

async function main() {
  const socket = io(url, options);
  const custom = io(`${url}/custom`, options);
  const [[auth], [auth2]] = await Promise.all([once(socket, "auth"), once(custom, "auth")]);
  assert.deepStrictEqual([auth, auth2], [{ token: "t" }, { token: "t" }]);
  if (transports.length > 1 && socket.io.engine.transport.name !== "websocket") {
    await once(socket.io.engine, "upgrade");
  }
  for (const each of [socket, custom]) {
    const back = once(each, "message-back");
    each.emit("message", "höre", { a: [1] }, Buffer.from([1, 2]));
    assert.deepStrictEqual(await back, ["höre", { a: [1] }, Buffer.from([1, 2])]);
    const answer = await each.timeout(5000).emitWithAck("message-with-ack", Buffer.from([3]));
    assert.deepStrictEqual(answer, Buffer.from([3]));
  }
  const refused = io(`${url}/nowhere`, options);
  const [error] = await once(refused, "connect_error");
  assert.strictEqual(error.message, "Invalid namespace");
  custom.disconnect();
  assert.strictEqual(await socket.timeout(5000).emitWithAck("message-with-ack", 7), 7);
  console.log("fine by", socket.io.engine.transport.name);
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
