import { connect } from "./socket.js";

const MANY = 1000;
const SHOWN = 200;

const form = document.getElementById("echo-form");
const log = document.getElementById("log");
const said = document.getElementById("many-said");
const many = document.getElementById("many");
let underWay = []; // when each message left that has not come back
let batch = null; // {start, next, inOrder}, while many are under way

const socket = connect("echo", {
    onOpen: (first) => {
        underWay = [];
        batch = null;
        many.disabled = false;
        note("note", first ? "connected" : "connected again");
    },
    onClose: () => note("note", "disconnected"),
    onMessage: (data) => {
        if (batch) return count(data);
        const ms = performance.now() - underWay.shift();
        note("received", show(data), `${ms.toFixed(1)} ms`);
    },
});

function show(data) {
    if (typeof data === "string") return data === "" ? "(empty)" : data;
    const bytes = [...new Uint8Array(data)].map((byte) => byte.toString(16).padStart(2, "0"));
    return bytes.length ? bytes.join(" ") : "(no bytes)";
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

form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (batch) return;
    const text = form.elements.message.value;
    const data = form.elements.binary.checked ? new TextEncoder().encode(text) : text;
    if (!socket.send(data)) return;
    underWay.push(performance.now());
    note("sent", show(data instanceof Uint8Array ? data.buffer : data));
});

many.addEventListener("click", () => {
    if (batch || underWay.length || !socket.open) return;
    many.disabled = true;
    batch = { start: performance.now(), next: 0, inOrder: true };
    for (let number = 0; number < MANY; number++) socket.send(String(number));
    said.textContent = `${MANY.toLocaleString("en")} under way`;
});

function count(data) {
    batch.inOrder &&= data === String(batch.next);
    batch.next += 1;
    if (batch.next < MANY) return;
    const ms = performance.now() - batch.start;
    const order = batch.inOrder ? "all in order" : "not in order";
    said.textContent = `${MANY.toLocaleString("en")} came back in ${ms.toFixed(0)} ms, ${order}.`;
    batch = null;
    many.disabled = false;
}

document.getElementById("clear").addEventListener("click", () => log.replaceChildren());
