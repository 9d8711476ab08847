// A room, over the browser's own WebSocket.

import { setSign } from "../showcase/sign.js";

const AGAIN = 1000; // milliseconds until it connects again
const WRITING = 3000; // for which somebody counts as writing
const REFUSED = { 4401: "Only for those who are logged in.", 4403: "You may not enter." };

const { me, url } = document.getElementById("room").dataset;
const form = document.getElementById("say");
const writing = document.getElementById("writing");
const messages = () => document.getElementById("messages");

let socket;

function connect() {
    // Everything up to this position is in the page.
    const { group, offset, epoch } = messages().dataset;
    const since = { group, offset: Number(offset), epoch };
    // With the client of django-ws, which comes back by itself: new Socket(url, { since })
    socket = new WebSocket(`${url}?${new URLSearchParams(since)}`);
    for (const [name, run] of Object.entries(events)) socket.on?.(name, run);
    socket.onopen = () => {
        setSign("connected");
        messages().scrollTop = messages().scrollHeight;
    };
    socket.onmessage = ({ data }) => {
        const said = JSON.parse(data);
        // A plain WebSocket gets named events as messages, too.
        if (said.event) events[said.event]?.(...said.args);
        else show(said);
    };
    socket.onclose = ({ code }) => {
        forgetPeople();
        if (code in REFUSED) return refuse(REFUSED[code]);
        setSign("reconnecting");
        setTimeout(again, AGAIN * (0.75 + Math.random() / 2));
    };
}

/** Connect from what the room is by now: what came meanwhile, a plain WebSocket has missed. */
async function again() {
    try {
        const response = await fetch(location.href);
        if (!response.ok) throw new Error(response.statusText);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        messages().replaceWith(page.getElementById("messages"));
        connect();
    } catch {
        setTimeout(again, 2 * AGAIN);
    }
}

function refuse(why) {
    setSign("closed");
    messages().replaceChildren();
    form.hidden = true;
    const words = document.getElementById("refused");
    words.firstElementChild.textContent = why;
    words.hidden = false;
}

// ---------------------------------------------------------------- what is said

function show({ id, author, text, deleted }) {
    const known = document.getElementById(`message-${id}`);
    if (deleted) return known?.remove();
    const line = document.createElement("li");
    line.id = `message-${id}`;
    const name = document.createElement("b");
    name.textContent = author;
    const words = document.createElement("span");
    words.textContent = text;
    line.append(name, " ", words);
    stopWriting(author);
    if (known) return known.replaceWith(line);
    messages().append(line);
    messages().scrollTop = messages().scrollHeight;
}

form.addEventListener("submit", (event) => {
    event.preventDefault();
    const { text } = form.elements;
    if (!text.value.trim() || socket.readyState !== WebSocket.OPEN) return;
    socket.send(JSON.stringify({ text: text.value }));
    text.value = "";
    toldAt = -Infinity;
});

// ---------------------------------------------------------------- who is there, who is writing

const people = new Map(); // names by user; by connection, for guests
const left = new Set(); // who has left before the list came
const writers = new Map(); // timers by name
let toldAt = -Infinity;

const events = {
    join: (who) => {
        left.delete(key(who));
        people.set(key(who), who.info.name);
        showPeople();
    },
    leave: (who) => {
        left.add(key(who));
        people.delete(key(who));
        showPeople();
    },
    people: (list) => {
        for (const who of list) if (!left.has(key(who))) people.set(key(who), who.info.name);
        showPeople();
    },
    writing: (name) => {
        if (name === me) return; // another tab of ours
        clearTimeout(writers.get(name));
        writers.set(name, setTimeout(stopWriting, WRITING, name));
        showWriters();
    },
};

const key = (who) => who.user || who.id;

function showPeople() {
    const names = [...new Set([me, ...people.values()])].sort();
    const items = names.map((name) => {
        const item = document.createElement("li");
        item.textContent = name;
        return item;
    });
    document.getElementById("people").replaceChildren(...items);
}

function forgetPeople() {
    people.clear();
    left.clear();
    document.getElementById("people").replaceChildren();
}

function stopWriting(name) {
    clearTimeout(writers.get(name));
    if (writers.delete(name)) showWriters();
}

function showWriters() {
    const names = [...writers.keys()].join(" and ");
    writing.textContent = names && `${names} ${writers.size > 1 ? "are" : "is"} writing …`;
}

form.elements.text.addEventListener("input", () => {
    const now = performance.now();
    if (now - toldAt < WRITING / 2 || socket.readyState !== WebSocket.OPEN) return;
    toldAt = now;
    socket.send(JSON.stringify({ writing: true }));
});

connect();
