// The list itself needs none of this: only the sign in the header, and a server that restarts.

import { setSign } from "../showcase/sign.js";

const AGAIN = 1000; // milliseconds

let lost = false;

document.addEventListener("htmx:wsOpen", () => {
    // What came meanwhile is in a new page.
    if (lost) location.reload();
    else setSign("connected");
});

document.addEventListener("htmx:wsClose", ({ detail }) => {
    lost = true;
    setSign("reconnecting");
    // The extension comes back by itself, but not if the server said that it stops.
    if (detail.event.code === 1001) setTimeout(detail.socketWrapper.reconnect, AGAIN);
});
