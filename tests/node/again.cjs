// A client that tells what becomes of it, and emits what it is told to on standard input.
// Arguments: the transports.
const readline = require("node:readline");
const { io } = require("socket.io-client");

const sockets = {};
const say = (...words) => console.log(...words);

for (const path of ["/lounge", "/beside"]) {
  const socket = io(`http://127.0.0.1:${process.env.DJANGO_WS_PORT}${path}`, {
    transports: process.argv.slice(2),
    reconnectionDelay: 100,
    reconnectionDelayMax: 300,
    query: { who: "node" },
  });
  socket.on("connect", () => say("connect", path));
  socket.on("disconnect", (reason) => say("disconnect", path, reason));
  sockets[path] = socket;
}

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const [path, ...event] = JSON.parse(line);
  const began = Date.now();
  sockets[path].timeout(10000).emit(...event, (error, answer) => {
    say("answer", path, error ? `none` : JSON.stringify(answer));
  });
});
