// A room, over the client of django-ws: it comes back by itself, and has missed nothing.

import { Socket } from "../django_ws/client.js";
import { setSign } from "../showcase/sign.js";

const WRITING = 3000; // milliseconds for which somebody counts as writing
const SIGNS = { connecting: "connecting", open: "connected", offline: "reconnecting", closed: "closed" };
const REFUSED = { 4401: "Only for those who are logged in.", 4403: "You may not enter." };

const { url, since, forMembers } = document.getElementById("room").dataset;
let { me } = document.getElementById("room").dataset;
const form = document.getElementById("say");
const writing = document.getElementById("writing");
const messages = () => document.getElementById("messages");

// Everything up to this position is in the page; what came since, the socket brings first.
const socket = new Socket(url, { since: JSON.parse(since) });

socket.onmessage = ({ data }) => show(JSON.parse(data));
socket.addEventListener("statechange", ({ state }) => setSign(SIGNS[state]));
socket.addEventListener("open", () => {
    people.clear();
    left.clear();
    messages().scrollTop = messages().scrollHeight;
});
socket.addEventListener("resume", async ({ recovered, unconfirmed }) => {
    if (recovered) return;
    await load();
    // The session is gone with what was on its way. What is not in the page by now, nobody has handled.
    for (const message of unconfirmed) {
        const { text } = JSON.parse(message);
        if (text && ![...messages().children].some((line) => isMine(line, text))) socket.send(message);
    }
});
socket.onclose = ({ code }) => {
    document.getElementById("people").replaceChildren();
    if (!(code in REFUSED)) return;
    // Who has logged out, in whichever tab, stays in open rooms under another name.
    if (forMembers) refuse(REFUSED[code]);
    else location.reload();
};

/** It was away for too long: take what was said from the page as it is by now. */
async function load() {
    const response = await fetch(location.href);
    if (!response.ok) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const loaded = page.getElementById("messages");
    const newest = Number(loaded.lastElementChild?.id.slice("message-".length) ?? 0);
    // The socket may have been faster with the newest.
    const newer = [...messages().children].filter((line) => Number(line.id.slice("message-".length)) > newest);
    loaded.append(...newer);
    messages().replaceWith(loaded);
    messages().scrollTop = messages().scrollHeight;
}

function isMine(line, text) {
    return line.querySelector("b").textContent === me && line.querySelector("span").textContent === text.trim();
}

function refuse(why) {
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
    if (!text.value.trim()) return;
    socket.send(JSON.stringify({ text: text.value }));
    text.value = "";
    toldAt = -Infinity;
});

// ---------------------------------------------------------------- who is there, who is writing

const people = new Map(); // names by user; by connection, for guests
const left = new Set(); // who has left before the list came
const writers = new Map(); // timers by name
let toldAt = -Infinity;

socket.on("join", (who) => {
    left.delete(key(who));
    people.set(key(who), who.info.name);
    showPeople();
});
socket.on("leave", (who) => {
    left.add(key(who));
    people.delete(key(who));
    showPeople();
});
socket.on("people", (list, name) => {
    me = name;
    form.elements.text.placeholder = `Say something, ${me}`;
    // Others may have come and gone while the list was made.
    for (const who of list) if (!left.has(key(who))) people.set(key(who), who.info.name);
    showPeople();
});
socket.on("writing", (name) => {
    if (name === me) return; // another tab of ours
    clearTimeout(writers.get(name));
    writers.set(name, setTimeout(stopWriting, WRITING, name));
    showWriters();
});

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
    if (now - toldAt < WRITING / 2 || socket.state !== "open") return;
    toldAt = now;
    socket.send(JSON.stringify({ writing: true }));
});
