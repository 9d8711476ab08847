// Twenty sockets whose handlers block, and an echo beside them.

import { Chart } from "./chart.js";
import { connect } from "./socket.js";

const SECOND = 1000;
const ECHO_EVERY = 50; // milliseconds

const button = document.getElementById("block-run");
const total = document.getElementById("block-total");
const now = document.getElementById("echo-now");
const worst = document.getElementById("echo-worst");
const chart = new Chart(document.getElementById("chart"));

let run = null; // {start, open: bars that have not finished}
let everRun = false;

const bars = [...document.querySelectorAll(".bar")].map((element, index) => {
    const bar = { element, fill: element.firstElementChild, running: false };
    bar.name = `socket ${index + 1}`;
    bar.link = connect("block", {
        onOpen: ready,
        onMessage: () => finish(bar, true),
        onClose: () => finish(bar, false),
    });
    return bar;
});

function ready() {
    if (run || !bars.every((bar) => bar.link?.open)) return;
    button.disabled = false;
    if (!everRun) start();
}

function start() {
    if (run || !bars.every((bar) => bar.link.open)) return;
    everRun = true;
    button.disabled = true;
    total.value = "…";
    worst.value = "–";
    delete worst.dataset.ms;
    delete total.dataset.seconds;
    run = { start: performance.now(), open: bars.length, failed: 0, worst: 0 };
    chart.block(run.start);
    for (const bar of bars) {
        bar.running = true;
        bar.element.dataset.state = "running";
        bar.element.setAttribute("aria-label", `${bar.name}: its handler blocks`);
        bar.link.send("go");
    }
    requestAnimationFrame(draw);
}

function draw() {
    if (!run) return;
    // A bar is full when its answer is there, not before.
    const share = Math.min((performance.now() - run.start) / SECOND, 0.97);
    for (const bar of bars) if (bar.running) bar.fill.style.setProperty("--fill", share);
    requestAnimationFrame(draw);
}

function finish(bar, answered) {
    if (!bar.running) return;
    const seconds = (performance.now() - run.start) / 1000;
    bar.running = false;
    bar.element.dataset.state = answered ? "done" : "failed";
    bar.element.dataset.seconds = seconds.toFixed(3);
    bar.element.setAttribute(
        "aria-label",
        answered ? `${bar.name}: ${seconds.toFixed(2)} seconds` : `${bar.name}: disconnected`,
    );
    bar.fill.style.setProperty("--fill", answered ? 1 : 0);
    run.failed += answered ? 0 : 1;
    run.open -= 1;
    if (run.open > 0) return;
    chart.unblock(performance.now());
    total.value = run.failed ? `${run.failed} disconnected` : `${seconds.toFixed(2)} s`;
    total.dataset.seconds = seconds.toFixed(3);
    worst.dataset.ms = run.worst.toFixed(1);
    run = null;
    button.disabled = false;
}

const echo = connect("echo", {
    onMessage: (data) => {
        const sent = Number(data);
        const ms = performance.now() - sent;
        chart.add(sent, ms);
        now.value = `${ms.toFixed(1)} ms`;
        // Those count that were under way while the handlers blocked.
        if (run && sent >= run.start) {
            run.worst = Math.max(run.worst, ms);
            worst.value = `${run.worst.toFixed(1)} ms`;
        }
    },
});

setInterval(() => echo.send(String(performance.now())), ECHO_EVERY);
button.addEventListener("click", start);
