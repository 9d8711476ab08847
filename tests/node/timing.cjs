// Tells where a suite was late itself: it cancelled a request before that was sent, since its own
// connection did not stand yet; or a timer, or the way of a request to the kernel, took over 100 ms.
const http = require("node:http");
const destroy = http.ClientRequest.prototype.destroy;
let unsent = false;
http.ClientRequest.prototype.destroy = function (...args) {
  unsent ||= !this.socket || this.socket.connecting;
  return destroy.apply(this, args);
};
let late = 0;
const note = (due) => (late = Math.max(late, performance.now() - due));
const request = http.request;
http.request = (...args) => {
  const made = performance.now();
  return request(...args).once("socket", (socket) => {
    const sent = () => note(made);
    socket.connecting ? socket.once("connect", sent) : sent();
  });
};
const set = globalThis.setTimeout;
globalThis.setTimeout = (callback, delay = 0, ...args) => {
  const due = performance.now() + delay;
  return set(() => (note(due), callback(...args)), delay);
};
process.on("exit", () => {
  if (unsent) console.error("suite late: cancelled a request before it was sent");
  if (late > 100) console.error(`suite late: by ${Math.round(late)} ms`);
});
