// Numbers go to Django and back while it is replaced or killed.

import { connect, duration } from "./socket.js";

const EVERY = 100; // milliseconds

const form = document.getElementById("break-form");
const said = document.getElementById("break-said");
const fields = Object.fromEntries(
    ["pid", "time", "answered", "lost"].map((name) => [
        name, document.getElementById(`break-${name}`),
    ]),
);

let sent = 0;
let last = 0;
let answered = 0;
let lost = 0;
let pid = null;

const link = connect("status", {
    // Numbers that were under way when the connection broke don't come any more.
    onOpen: () => miss(sent),
    onMessage: (data) => {
        const answer = JSON.parse(data);
        miss(answer.number - 1);
        last = Math.max(last, answer.number);
        answered += 1;
        form.elements.token.value = answer.token;
        if (pid !== null && answer.pid !== pid) {
            said.textContent = `Process ${pid} is gone, ${answer.pid} goes on.`;
        }
        pid = answer.pid;
        show();
    },
});

/** All numbers up to this one should have come; those that did not are lost. */
function miss(number) {
    lost += Math.max(number - last, 0);
    last = Math.max(last, number);
}

function show() {
    fields.pid.textContent = pid ?? "–";
    fields.time.textContent = link.open ? duration(link.since) : "–";
    fields.answered.textContent = answered.toLocaleString("en");
    fields.lost.textContent = lost.toLocaleString("en");
}

setInterval(() => {
    if (link.send(JSON.stringify(sent + 1))) sent += 1;
    show();
}, EVERY);

form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { submitter } = event;
    const body = new FormData(form);
    said.textContent = `${submitter.textContent}: under way`;
    try {
        const response = await fetch(submitter.formAction, { method: "POST", body });
        if (!response.ok) said.textContent = `Refused (${response.status}): see the terminal.`;
    } catch {
        // The process that serves the pages may be replaced, too, before it answered.
    }
});
