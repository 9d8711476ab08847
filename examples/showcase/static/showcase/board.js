// Socket.IO's own client, in front of the handler Board.

const SHOWN = 200;
const PATIENCE = 5000; // milliseconds for an acknowledgement

const log = document.getElementById("log");
const sign = document.getElementById("link");
const carried = document.getElementById("transport");
const polling = document.getElementById("polling");
let socket;

function start() {
    const port = document.body.dataset.wsPort || location.port;
    const origin = `${location.protocol}//${location.hostname}${port && ":" + port}`;
    socket?.disconnect();
    socket = io(`${origin}/board`, {
        forceNew: true,
        transports: polling.checked ? ["polling"] : ["polling", "websocket"],
    });
    socket.on("connect", () => {
        show("connected");
        const { engine } = socket.io;
        carried.textContent = engine.transport.name;
        engine.on("upgrade", (transport) => (carried.textContent = transport.name));
    });
    socket.on("disconnect", () => show("reconnecting"));
    socket.on("said", ({ text, by }) => note("received", text, `from ${by}`));
}

function show(state) {
    sign.dataset.state = state;
    sign.textContent = state;
    note("note", state);
}

function note(kind, text, aside = "") {
    const line = document.createElement("li");
    line.className = kind;
    const content = document.createElement("span");
    content.textContent = text;
    const small = document.createElement("small");
    small.textContent = aside;
    line.append(content, small);
    log.append(line);
    if (log.childElementCount > SHOWN) log.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
}

/** Emit an event and note its acknowledgement; null if none came. */
async function ask(...event) {
    const start = performance.now();
    try {
        const answer = await socket.timeout(PATIENCE).emitWithAck(...event);
        return [answer, `${(performance.now() - start).toFixed(1)} ms`];
    } catch {
        note("note", "no acknowledgement in time");
        return null;
    }
}

document.getElementById("say").addEventListener("submit", async (event) => {
    event.preventDefault();
    const text = event.target.elements.text.value;
    note("sent", text);
    const found = await ask("say", text);
    if (found) note("note", ...found);
});

document.getElementById("reverse").addEventListener("click", async () => {
    const hex = (bytes) => [...bytes].map((x) => x.toString(16).padStart(2, "0")).join(" ");
    const bytes = crypto.getRandomValues(new Uint8Array(8));
    note("sent", hex(bytes));
    const found = await ask("reverse", bytes);
    if (found) note("received", hex(new Uint8Array(found[0])), found[1]);
});

polling.addEventListener("change", start);
start();
