// What the client library of Socket.IO does with acknowledgements and rooms.
// Arguments: the transports.
const assert = require("node:assert");
const { io } = require("socket.io-client");

const transports = process.argv.slice(2);
const url = `http://127.0.0.1:${process.env.DJANGO_WS_PORT}`;
const once = (socket, event) => new Promise((resolve) => socket.once(event, (...a) => resolve(a)));
const ask = (socket, ...event) => socket.timeout(10000).emitWithAck(...event);

async function main() {
  const options = { transports, forceNew: true };
  // Two namespaces over one transport, and another client.
  const one = io(`${url}/lounge`, { ...options, auth: (cb) => cb({ token: "one" }) });
  const beside = one.io.socket("/beside", { auth: { token: "beside" } });
  const two = io(`${url}/lounge`, options);
  beside.connect();
  await Promise.all([one, beside, two].map((socket) => once(socket, "connect")));
  assert.strictEqual(one.io, beside.io);
  assert.deepStrictEqual(await ask(one, "auth"), { token: "one" });
  assert.deepStrictEqual(await ask(beside, "auth"), { token: "beside" });
  assert.deepStrictEqual(await ask(two, "auth"), {});

  // Acknowledgements: several values, attachments, and one that comes too late.
  const joined = await new Promise((resolve) => one.emit("join", "a", (...got) => resolve(got)));
  assert.deepStrictEqual(joined, ["joined", "a"]);
  const data = Buffer.from([0, 30, 98, 255]); // what a separator and a mark of base64 look like
  assert.deepStrictEqual(await ask(one, "twice", data), { data, more: [data] });
  await assert.rejects(one.timeout(100).emitWithAck("nap", 0.5), /timed out/);
  assert.strictEqual(await ask(one, "nap", 0.01), "rested");

  // A handler's failure ends the connection, and the client begins anew.
  const failed = io(`${url}/lounge`, { ...options, reconnectionDelay: 50 });
  await once(failed, "connect");
  failed.emit("fail");
  await once(failed, "disconnect");
  await once(failed, "connect");
  failed.disconnect();

  // Rooms: of a namespace's handlers, whichever client asks.
  await ask(two, "join", "a");
  await ask(beside, "join", "b");
  const values = ["text", { deep: [1, null, "ü"] }, [1, 2], 7, null, data];
  for (const value of values) {
    const heard = [one, two].map((socket) => once(socket, "said"));
    two.emit("say", "a", value);
    for (const [got] of await Promise.all(heard)) assert.deepStrictEqual(got, value);
  }
  const others = [];
  beside.on("said", (value) => others.push(value));
  await ask(one, "leave", "a");
  let late = false;
  one.on("said", () => (late = true));
  const last = once(two, "said");
  one.emit("say", "a", "last");
  one.emit("say", "b", "for b");
  assert.deepStrictEqual(await last, ["last"]);
  while (!others.length) await once(beside, "said");
  assert.deepStrictEqual(others, ["for b"]);
  assert(!late);

  // Order, with many under way.
  const got = [];
  const all = new Promise((resolve) =>
    two.on("message", (value) => got.push(value) === 500 && resolve()),
  );
  for (let n = 0; n < 500; n++) two.emit("message", n % 50 ? String(n) : Buffer.from([n / 50]));
  await all;
  const expected = [...Array(500).keys()].map((n) => (n % 50 ? String(n) : Buffer.from([n / 50])));
  assert.deepStrictEqual(got, expected);

  console.log("fine");
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
