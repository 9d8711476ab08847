// A WebSocket that comes back: the browser's own, opened again after it closed.

import { setSign } from "./sign.js";

const FIRST_DELAY = 250; // milliseconds, doubled each time
const LAST_DELAY = 4000;

// Chromium makes a page wait for seconds that has more than a dozen handshakes under way.
const MOST_CONNECTING = 4;

const links = new Set();
const queue = []; // those that wait for their turn to connect
let connecting = 0;

/**
 * Connect to the handler of a namespace, "" is the default one, or to a URL.
 *
 * `onOpen(first)` runs at each connection, `onMessage(data)` for text and ArrayBuffers, `onClose`
 * whenever the connection is lost. Returns `send`, which drops what cannot be sent now, and
 * `close`, which is final.
 */
export function connect(where, { onOpen, onMessage, onClose } = {}) {
    const url = /^wss?:/.test(where) ? where : urlOf(where);
    const link = { open: false, since: null, send, close };
    let socket = null;
    let delay = FIRST_DELAY;
    let timer;
    let connections = 0;

    function open() {
        if (!links.has(link)) return leaveTurn();
        socket = new WebSocket(url);
        socket.binaryType = "arraybuffer";
        socket.onopen = () => {
            leaveTurn();
            delay = FIRST_DELAY;
            link.open = true;
            link.since = performance.now();
            connections += 1;
            show();
            onOpen?.(connections === 1);
        };
        socket.onmessage = (event) => onMessage?.(event.data);
        socket.onclose = () => {
            const lost = link.open;
            link.open = false;
            if (!lost) leaveTurn();
            if (!links.has(link)) return;
            // Not all at the same moment, should there be many of us.
            timer = setTimeout(takeTurn, delay * (0.75 + Math.random() / 2), open);
            delay = Math.min(2 * delay, LAST_DELAY);
            show();
            if (lost) onClose?.();
        };
    }

    function send(data) {
        if (!link.open) return false;
        socket.send(data);
        return true;
    }

    function close() {
        clearTimeout(timer);
        links.delete(link);
        socket?.close();
        show();
    }

    links.add(link);
    takeTurn(open);
    return link;
}

function urlOf(namespace) {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const port = document.body.dataset.wsPort || location.port;
    return `${scheme}//${location.hostname}${port && ":" + port}/socket/${namespace}`;
}

function takeTurn(open) {
    queue.push(open);
    nextTurn();
}

function leaveTurn() {
    connecting -= 1;
    nextTurn();
}

function nextTurn() {
    if (!queue.length || connecting === MOST_CONNECTING) return;
    connecting += 1;
    queue.shift()();
}

/** "4:12", for the time since `start` on the clock of `performance.now()`. */
export function duration(start) {
    const seconds = Math.floor((performance.now() - start) / 1000);
    return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function show() {
    const all = [...links];
    setSign(all.every((link) => link.open)
        ? "connected"
        : all.some((link) => link.since) ? "reconnecting" : "connecting");
}
