// Drives client.js by commands on standard input, and tells on standard output what happens: JSON,
// one a line. What it says goes through a proxy that can cut and freeze connections.

import net from "node:net";
import readline from "node:readline";

const { Socket } = await import(process.env.CLIENT);
const [port, path, options] = [Number(process.env.DJANGO_WS_PORT), process.argv[2], JSON.parse(process.argv[3] ?? "{}")];

const tell = (what, fields = {}) => process.stdout.write(JSON.stringify({ what, ...fields }) + "\n");

const pairs = new Set();
const proxy = net.createServer((near) => {
    const far = net.connect(port, "127.0.0.1");
    const pair = { near, far, frozen: false };
    pairs.add(pair);
    for (const [from, to] of [[near, far], [far, near]]) {
        from.on("data", (data) => pair.frozen || to.write(data));
        from.on("error", () => {});
        from.on("close", () => {
            pairs.delete(pair);
            if (!pair.frozen) to.end();
        });
    }
});
await new Promise((resolve) => proxy.listen(0, "127.0.0.1", resolve));

const socket = new Socket(`ws://127.0.0.1:${proxy.address().port}${path}`, options);
socket.binaryType = "arraybuffer";
socket.addEventListener("open", () => tell("open"));
socket.addEventListener("statechange", () => tell("state", { state: socket.state }));
socket.addEventListener("close", (event) => tell("close", { code: event.code, clean: event.wasClean }));
socket.addEventListener("resume", ({ recovered, group, unconfirmed }) => tell("resume", { recovered, group, unconfirmed }));
socket.addEventListener("message", ({ data, group, offset, epoch, recovered }) => {
    if (typeof data !== "string") data = Buffer.from(data).toString("hex");
    tell("message", { data, group, offset, epoch, recovered });
});
socket.on("heard", (...args) => tell("event", { args }));

const commands = {
    send: ({ data }) => socket.send(data),
    emit: ({ event, args }) => socket.emit(event, ...args, (...answer) => tell("answer", { data: answer })),
    request: ({ data }) => void socket.request(data, { timeout: 60000 }).then(
        (answer) => tell("answer", { data: answer }),
        (error) => tell("failed", { code: error.code, words: error.message }),
    ),
    close: () => socket.close(),
    cut: () => pairs.forEach(({ near, far }) => [near, far].forEach((end) => end.resetAndDestroy())),
    freeze: () => pairs.forEach((pair) => (pair.frozen = true)),
};
for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    commands[command.do](command);
}
process.exit(0);
