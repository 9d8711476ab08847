// A client that may have its session back; it tells what becomes of it, and does what it is told
// on standard input: ["cut"], ["leave"], ["back", query], or an event to emit.
// Arguments: the transport; the query.
const readline = require("node:readline");
const { io } = require("socket.io-client");

const [transport, query] = process.argv.slice(2);
const parsed = (text) => Object.fromEntries(new URLSearchParams(text));
const say = (...words) => console.log(...words);

const socket = io(`http://127.0.0.1:${process.env.DJANGO_WS_PORT}/lasting`, {
  transports: [transport],
  reconnectionDelay: 100,
  reconnectionDelayMax: 300,
  query: parsed(query),
  auth: { mine: 1 },
});
let sid = "";
socket.on("connect", () => {
  say(socket.recovered ? "recovered" : "new", socket.id === sid ? "same" : "other");
  sid = socket.id;
});
socket.on("connect_error", (error) => say("refused", error.data?.status, error.message));
socket.on("disconnect", (reason) => say("disconnect", reason));
socket.onAny((name, ...args) => {
  // The last one is the offset.
  const shown = args.slice(0, -1).map((value) => (Buffer.isBuffer(value) ? value.length : value));
  say("event", name, JSON.stringify(shown));
});

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [word, ...args] = JSON.parse(line);
  const manager = socket.io;
  if (word === "cut") {
    // As if there was no network for a while.
    manager.reconnection(false);
    const { ws } = manager.engine.transport;
    if (ws) ws.terminate();
    else manager.engine.close();
  } else if (word === "leave") {
    socket.disconnect();
  } else if (word === "back") {
    manager.reconnection(true);
    if (args.length) manager.opts.query = parsed(args[0]);
    manager.engine.close();
    socket.connect();
  } else {
    socket.timeout(10000).emit(word, ...args, (error, answer) => {
      say("answer", error ? "none" : JSON.stringify(answer));
    });
  }
});
