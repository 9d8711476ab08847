// Asks twice a second what the handler has to say now.

import { connect, duration } from "./socket.js";

const EVERY = 500; // milliseconds

const text = document.getElementById("edit-text");
const time = document.getElementById("edit-time");
const reconnects = document.getElementById("edit-reconnects");
let closed = 0;

const link = connect("edit", {
    onMessage: (data) => {
        if (text.textContent === data) return;
        const first = text.textContent === "–";
        text.textContent = data;
        if (!first) {
            text.classList.remove("changed");
            void text.offsetWidth; // so that the animation starts anew
            text.classList.add("changed");
        }
    },
    onClose: () => {
        closed += 1;
        reconnects.textContent = closed;
    },
});

setInterval(() => {
    link.send("What do you say?");
    time.textContent = link.open ? duration(link.since) : "–";
}, EVERY);
