import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const { Socket, RequestError } = await import(process.env.CLIENT ?? "../../src/django_ws/static/django_ws/client.js");
import { Clock, gateway } from "./gateway.mjs";

const online = (yes) => Object.defineProperty(globalThis, "navigator", { value: { onLine: yes }, configurable: true });
const listeners = new Map();
globalThis.addEventListener = (type, run) => listeners.set(type, (listeners.get(type) ?? new Set()).add(run));
globalThis.removeEventListener = (type, run) => listeners.get(type)?.delete(run);
const happens = (type) => [...(listeners.get(type) ?? [])].forEach((run) => run({ type }));

async function reports(run) {
    const reported = [];
    process.setUncaughtExceptionCaptureCallback((error) => reported.push(error.message));
    try {
        run();
        await new Promise((resolve) => setImmediate(resolve));
    } finally {
        process.setUncaughtExceptionCaptureCallback(null);
    }
    return reported;
}

function start(options = {}) {
    listeners.clear();
    online(true);
    const clock = new Clock(), fake = gateway(), heard = [];
    const socket = new Socket("ws://h/ws", { WebSocket: fake.WebSocket, clock, ...options });
    for (const type of ["open", "message", "close", "resume", "statechange"]) {
        socket.addEventListener(type, (event) => heard.push([type, event.data ?? event.code ?? event.recovered ?? event.state]));
    }
    return { clock, fake, socket, heard, got: (type) => heard.filter(([name]) => name === type).map(([, value]) => value) };
}

test("what waits is sent in order once it is welcome, what the page says at open first", async () => {
    const { fake, socket } = start();
    socket.send("a");
    socket.send("b");
    socket.onopen = () => socket.send("hi");
    assert.equal(socket.bufferedAmount, 6);
    await fake.last.welcome();
    assert.deepEqual(fake.last.said.slice(1), [["m", 1, 0, "hi"], ["m", 2, 0, "a"], ["m", 3, 0, "b"]]);
    assert.equal(socket.readyState, Socket.OPEN);
    assert.deepEqual(fake.last.protocols, ["django-ws.v1"]);
});

test("the queue is bounded, or there is none", () => {
    const { socket } = start({ maxQueue: 2 });
    socket.send("a");
    socket.send("b");
    assert.throws(() => socket.send("c"), { name: "QuotaExceededError" });
    assert.throws(() => start({ offline: "throw" }).socket.send("a"), { name: "InvalidStateError" });
});

test("a number is taken once, and a gap ends the connection", async () => {
    const { fake, socket, got } = start();
    await fake.last.welcome();
    fake.last.say("m", 1, 0, "a");
    fake.last.say("m", 1, 0, "a");
    fake.last.say("m", 2, 0, "b");
    assert.deepEqual(got("message"), ["a", "b"]);
    fake.last.say("m", 4, 0, "d");
    assert.equal(socket.state, "offline");
    assert.equal(fake.last.closedWith, 4000);
});

test("a request that is repeated keeps its number, and its answer comes", async () => {
    const { clock, fake, socket, got } = start();
    await fake.last.welcome();
    const answer = socket.request({ a: 1 });
    fake.last.end(1006);
    clock.pass(500);
    await fake.last.welcome({ resumed: true });
    assert.deepEqual(fake.last.said, [["hello", { token: "t", had: 0 }], ["r", 1, 0, { a: 1 }]]);
    fake.last.say("ok", 1, 1, 1, "fine");
    assert.equal(await answer, "fine");
    assert.deepEqual(got("resume"), [true]);
    assert.deepEqual(got("open").length, 1);
});

test("a new session repeats nothing that was sent, and the page is told", async () => {
    const { clock, fake, socket } = start();
    await fake.last.welcome();
    socket.send("doubtful");
    socket.emit("e", 1);
    const answer = socket.request(1);
    fake.last.end(1012);
    socket.send("never sent");
    let told;
    socket.onresume = (event) => (told = event);
    await Promise.all([assert.rejects(answer, { code: 4410 }), fake.last.welcome({ token: "u" })]);
    assert.equal(told.recovered, false);
    assert.deepEqual(told.unconfirmed, ["doubtful", { event: "e", args: [1] }]);
    assert.deepEqual(fake.last.said.slice(1), [["m", 1, 0, "never sent"]]);
});

test("requests fail by code, by time, and with the end", async () => {
    const { clock, fake, socket } = start();
    await fake.last.welcome();
    const [one, two, three] = [socket.request(1), socket.request(2, { timeout: 10 }), socket.request(3)];
    fake.last.say("err", 1, 1, 1, 4500, "oh");
    await assert.rejects(one, (error) => error instanceof RequestError && error.code === 4500);
    clock.pass(10);
    await assert.rejects(two, { code: 4408 });
    fake.last.end(4403, "no");
    await assert.rejects(three, { code: 4403 });
});

test("final codes end it, 4401 the second time", async () => {
    for (const code of [3500, 3999, 4400, 4403, 4499]) {
        const { fake, socket, got, clock } = start();
        await fake.last.welcome();
        fake.last.end(code);
        assert.deepEqual([socket.state, got("close")], ["closed", [code]]);
        assert.equal(clock.timers.size, 0);
    }
    const { fake, got, clock } = start();
    await fake.last.accept();
    fake.last.end(4401);
    clock.pass(500);
    assert.equal(fake.sockets.length, 2);
    await fake.last.accept();
    fake.last.end(4401);
    assert.deepEqual(got("close"), [4401]);
});

test("full jitter, at once after 1012, and one timer", async () => {
    const { clock, fake } = start();
    for (const bound of [500, 1000, 2000, 4000, 8000, 16000, 20000, 20000]) {
        fake.last.end(1006);
        assert.equal(clock.timers.size, 1);
        assert.equal([...clock.timers.values()][0].at - clock.time, bound / 2);
        clock.pass(bound / 2);
    }
    await fake.last.welcome();
    const before = fake.sockets.length;
    fake.last.end(1012);
    assert.equal(fake.sockets.length, before + 1);
    fake.last.end(1012); // without a welcome between, it waits
    assert.equal(fake.sockets.length, before + 1);
});

test("a connection that fails without a close is over, too", async () => {
    const { clock, fake, socket } = start();
    fake.last.readyState = 3;
    fake.last.onerror({});
    assert.equal(socket.state, "offline");
    fake.last.end(1006);
    clock.pass(500);
    assert.equal(fake.sockets.length, 2);
});

test("without a network nothing is tried, with it at once", async () => {
    const { clock, fake, socket } = start();
    await fake.last.welcome();
    online(false);
    fake.last.end(1006);
    clock.pass(60000);
    assert.deepEqual([fake.sockets.length, socket.state], [1, "offline"]);
    online(true);
    happens("online");
    assert.deepEqual([fake.sockets.length, socket.state], [2, "connecting"]);
});

test("a page in the background comes back with the network, and does not when it is hidden", async () => {
    globalThis.document = { visibilityState: "hidden", addEventListener: (...all) => globalThis.addEventListener(...all), removeEventListener: () => {} };
    try {
        const { clock, fake } = start();
        await fake.last.welcome();
        online(false);
        happens("offline");
        fake.last.end(1006);
        clock.pass(60000);
        assert.equal(fake.sockets.length, 1);
        online(true);
        happens("visibilitychange");
        assert.equal(fake.sockets.length, 1);
        happens("online");
        assert.equal(fake.sockets.length, 2);
    } finally {
        delete globalThis.document;
    }
});

test("a hello that came too late is said again", async () => {
    const { clock, fake, socket } = start();
    fake.last.end(4408);
    assert.equal(socket.state, "offline");
    clock.pass(500);
    await fake.last.welcome();
    assert.equal(socket.state, "open");
});

test("a callback that fails is reported, and does not end the connection", async () => {
    const { fake, socket } = start();
    await fake.last.welcome();
    socket.emit("rename", () => { throw new Error("oh"); });
    const reported = await reports(() => fake.last.say("ok", 1, 1, 1, []));
    assert.deepEqual(reported, ["oh"]);
    assert.equal(socket.state, "open");
});

test("an event that wants an answer waits as long as one that does not, and is given back like it", async () => {
    const { clock, fake, socket } = start();
    const answers = [];
    socket.emit("early", 1, (answer) => answers.push(answer));
    fake.last.end(1006);
    online(false);
    clock.pass(100000);
    online(true);
    happens("online");
    await fake.last.welcome();
    assert.deepEqual(fake.last.said.at(-1), ["x", 1, 0, "early", [1]]);
    fake.last.say("ok", 1, 1, 1, ["done"]);
    assert.deepEqual(answers, ["done"]);
    socket.emit("doubtful", "a", () => {});
    let unconfirmed;
    socket.onresume = (event) => ({ unconfirmed } = event);
    fake.last.end(1012);
    await fake.last.welcome();
    assert.deepEqual(unconfirmed, [{ event: "doubtful", args: ["a"] }]);
});

test("a Blob that cannot be read is reported, and stops nothing else", async () => {
    const { fake, socket } = start();
    await fake.last.welcome();
    const blob = new Blob(["x"]);
    blob.arrayBuffer = async () => { throw new Error("the file has changed"); };
    const reported = await reports(() => {
        socket.send(blob);
        socket.send("behind");
    });
    assert.deepEqual(reported, ["the file has changed"]);
    assert.deepEqual(fake.last.said.at(-1), ["m", 1, 0, "behind"]);
});

test("a hello with more positions than it may have leaves some out, and the page is told of what that may miss", async () => {
    const { fake, socket } = start();
    const lost = [];
    socket.addEventListener("resume", ({ recovered, group }) => recovered || lost.push(group));
    await fake.last.welcome({ max: 2000 });
    for (let n = 1; n <= 100; n++) fake.last.say("j", n, 0, `room-${n}`, n, "e", true);
    fake.last.end(1012);
    await fake.last.accept();
    assert(fake.last.sent[0].length <= 2000);
    const { since } = fake.last.said[0][1];
    assert(since.length > 30);
    assert.deepEqual(since[0], { group: "room-1", offset: 1, epoch: "e" });
    fake.last.say("welcome", { token: "u", id: "d", resumed: false, had: 0, silence: 33000, ttl: 60000, max: 2000 });
    assert.deepEqual(lost, [undefined]);
    fake.last.say("j", 1, 0, "room-1", 1, "e", true);
    fake.last.say("j", 2, 0, "room-99", 99, "e", true);
    fake.last.say("j", 3, 0, "room-100", 101, "e", true);
    fake.last.say("j", 4, 0, "new", 7, "e", true);
    assert.deepEqual(lost, [undefined, "room-100"]);
    // A session that is had back has missed nothing.
    fake.last.end(1012);
    await fake.last.welcome({ resumed: true, max: 2000 });
    fake.last.say("j", 5, 0, "room-98", 200, "e", true);
    assert.deepEqual(lost, [undefined, "room-100"]);
});

test("silence is asked about, then given up", async () => {
    const { clock, fake, socket } = start();
    await fake.last.welcome();
    clock.pass(33000);
    assert.deepEqual(fake.last.said.at(-1), ["p", 0]);
    fake.last.say("a", 0);
    clock.pass(5000);
    assert.equal(socket.state, "open");
    happens("pageshow");
    clock.pass(5000);
    assert.deepEqual([socket.state, fake.last.closedWith], ["offline", 4000]);
});

test("what comes is acknowledged by number and by size", async () => {
    const { fake } = start();
    await fake.last.welcome();
    for (let number = 1; number <= 64; number++) fake.last.say("m", number, 0, "x");
    assert.deepEqual(fake.last.said.slice(1), [["a", 64]]);
    fake.last.say("m", 65, 0, "x".repeat(20000));
    assert.deepEqual(fake.last.said.slice(2), [["a", 65]]);
});

test("what is too big for the gateway never leaves", async () => {
    const { fake, socket } = start();
    await fake.last.welcome({ max: 100 });
    assert.throws(() => socket.send("x".repeat(100)), { name: "DataError" });
    socket.send("\ud800");
    assert.equal(fake.last.said.at(-1)[3], "\ufffd");
});

test("who closes before the welcome says goodbye, so that no session waits for it", async () => {
    for (const [given, said] of [[[], 1000], [[4001, "bye"], 4001]]) {
        const { clock, fake, socket, got } = start();
        await fake.last.accept();
        socket.close(...given);
        assert.equal(fake.last.closedWith, said);
        clock.pass(0);
        assert.deepEqual(got("close"), [1006]);
    }
});

test("closing is as of a WebSocket", async () => {
    const { fake, socket, got, clock } = start();
    await fake.last.welcome();
    assert.throws(() => socket.close(1001), { name: "InvalidAccessError" });
    socket.close(3000, "bye");
    assert.deepEqual([socket.readyState, fake.last.closedWith], [Socket.CLOSING, 3000]);
    fake.last.end(3000);
    assert.deepEqual([socket.readyState, got("close"), clock.timers.size], [Socket.CLOSED, [3000], 0]);
});

const page = readFileSync(new URL("../../docs/client-protocol.md", import.meta.url), "utf8");
const blocks = [...page.matchAll(/^```v1\n(.*?)^```/gms)].map(([, text]) => text.trim().split("\n"));

for (const [index, lines] of blocks.entries()) {
    test(`example ${index + 1} of the page`, async () => {
        let { fake, socket, clock } = start();
        const connect = (options) => ({ fake, socket, clock } = start(options)).socket;
        let seen = 0;
        for (const line of lines) {
            const [text, hex] = line.slice(2).split(" | ");
            const bytes = hex && Buffer.from(hex, "hex");
            if (line[0] === "=") {
                await fake.last.accept();
                seen = 0;
            } else if (line[0] === ">") {
                const data = fake.last.sent[seen++];
                assert.equal(Buffer.from(data ?? "nothing").toString("latin1"), bytes ? `${text}\n${bytes.toString("latin1")}` : text);
            } else if (line[0] === "<") {
                fake.last.give(bytes ? new Uint8Array(Buffer.concat([Buffer.from(`${text}\n`), bytes])) : text);
                assert.equal(socket.state, "open", line);
            } else if (line[0] === "x") {
                fake.last.end(+text);
                if (socket.state === "offline") clock.pass(500);
            } else {
                const run = new Function("socket", "connect", "wake", `return ${text.replace(/^socket = /, "")}`);
                run(socket, connect, () => happens("pageshow"));
            }
        }
        assert.equal(seen, fake.last.sent.length);
    });
}
