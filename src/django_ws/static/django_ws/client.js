/**
 * A WebSocket that comes back and has missed nothing; types are in client.d.ts, the protocol in
 * docs/client-protocol.md.
 */

const PROTOCOL = "django-ws.v1";
const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;

// Milliseconds.
const FIRST_DELAY = 500; // bound of the first random delay, doubled each time
const LAST_DELAY = 20000;
const CONNECT_TIMEOUT = 20000; // for the connection and its welcome
const PROBE_TIMEOUT = 5000;
const REQUEST_TIMEOUT = 30000;

// What may be taken without an acknowledgement, in envelopes and characters or bytes.
const OWED = 64;
const OWED_SIZE = 16384;

const HELLO = 65536; // bytes that a gateway takes if it has not said so
const MOST_SENT = 10000; // messages without an acknowledgement while the connection is open
const SILENT = 4000; // close code of a dead connection
const TIMED_OUT = 4408, LOST = 4410;

const realClock = {
    now: () => performance.now(),
    setTimeout: (run, delay) => setTimeout(run, delay),
    clearTimeout: (id) => clearTimeout(id),
    random: () => Math.random(),
};

const wellFormed = (text) => text.replace(/\p{Surrogate}/gu, "\ufffd");
const toJson = (value) =>
    JSON.stringify(value, (_, part) => (typeof part === "string" ? wellFormed(part) : part));
const isBytes = (data) => data instanceof ArrayBuffer || ArrayBuffer.isView(data);
const copy = (data) =>
    ArrayBuffer.isView(data)
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
        : new Uint8Array(data.slice(0));
const encode = (text) => new TextEncoder().encode(text);
const sizeOf = (data) => (typeof data === "string" ? data.length : data.byteLength);
// 4408 says that something took too long, as a hello over a network that had stopped.
const isFinal = (code) => (code >= 4400 && code < 4500 && code !== TIMED_OUT) || (code >= 3500 && code < 4000);
const report = (error) => queueMicrotask(() => { throw error; });

/** An answer that is an error; `code` is the handler's, 4408 without an answer in time, 4410 if the
 * session is gone, or the close code. */
export class RequestError extends Error {
    constructor(code, message) {
        super(message);
        this.name = "RequestError";
        this.code = code;
    }
}

const makeEvent = (type, fields, Class = Event) => {
    const event = new Class(type, fields);
    for (const name in fields) {
        if (!(name in event)) event[name] = fields[name];
    }
    return event;
};

export class Socket extends EventTarget {
    #options;
    #clock;
    #state = "connecting";
    #readyState = CONNECTING;
    #socket = null; // the only one that is listened to
    #timer = 0; // the only one, for whatever comes next in this state
    #attempt = 0;
    #unauthorized = false; // 4401 was heard, and no welcome since
    #heard = 0;
    #probed = false;

    #token = "";
    #silence = 0;
    #max = 0;
    #sent = 0; // number of the last envelope that was sent in this session
    #had = 0; // and of the last one that came
    #owed = 0;
    #owedSize = 0;
    #items = []; // what is not acknowledged; those that were never sent have no number
    #calls = new Map(); // by number, those that wait for an answer
    #positions = new Map(); // by group
    #unsaid = new Set(); // those whose position the last hello had no room for
    #listeners = new Map(); // of named events
    #began = false;
    #closing = null;

    binaryType = "blob";

    constructor(url, options = {}) {
        super();
        this.url = new URL(url, globalThis.location?.href).href.replace(/^http/, "ws");
        this.protocol = PROTOCOL;
        this.extensions = "";
        this.#options = { offline: "queue", maxQueue: 1000, WebSocket: globalThis.WebSocket, ...options };
        this.#clock = options.clock ?? realClock;
        for (const position of [options.since ?? []].flat()) {
            this.#positions.set(position.group ?? this.#positions.size, position);
        }
        for (const type of ["online", "offline", "pageshow"]) {
            globalThis.addEventListener?.(type, this.#wake);
        }
        globalThis.document?.addEventListener("visibilitychange", this.#wake);
        this.#connect();
    }

    // ---------------------------------------------------------------- as of a WebSocket

    get readyState() {
        return this.#readyState;
    }

    /** `connecting`, `open`, `offline` or `closed`. */
    get state() {
        return this.#state;
    }

    get bufferedAmount() {
        let size = this.#socket?.bufferedAmount ?? 0;
        for (const item of this.#items) if (!item.number) size += item.size;
        return size;
    }

    send(data) {
        if (typeof Blob !== "undefined" && data instanceof Blob) {
            const item = this.#add("m", [], null, data.size);
            if (!item) return;
            data.arrayBuffer().then(
                (bytes) => {
                    item.bytes = new Uint8Array(bytes);
                    item.ready = true;
                    this.#flush();
                },
                (error) => {
                    // Its file has changed or is gone; what follows it goes without it.
                    this.#items = this.#items.filter((other) => other !== item);
                    this.#flush();
                    report(error);
                },
            );
        } else {
            this.#add("m", [], isBytes(data) ? data : wellFormed(String(data)));
        }
    }

    close(code, reason = "") {
        if (code !== undefined && code !== 1000 && !(code >= 3000 && code <= 4999)) {
            throw new DOMException(`${code} is no close code for a page`, "InvalidAccessError");
        }
        if (encode(reason).length > 123) {
            throw new DOMException("the reason is too long", "SyntaxError");
        }
        if (this.#readyState >= CLOSING) return;
        this.#readyState = CLOSING;
        if (this.#state === "open") {
            this.#socket.close(...(code === undefined ? [] : [code, reason]));
            this.#after(PROBE_TIMEOUT, () => this.#end(1006, "", false));
        } else {
            this.#drop(code ?? 1000, reason);
            // As of a WebSocket, never before the caller has gone on.
            this.#after(0, () => this.#end(1006, "", false));
        }
    }

    // ---------------------------------------------------------------- beyond a WebSocket

    /** Send any JSON value or bytes; resolves with the handler's answer. */
    request(data, { timeout = REQUEST_TIMEOUT } = {}) {
        return new Promise((resolve, reject) => {
            this.#call(this.#add("r", [], data), resolve, reject, timeout);
        });
    }

    /** Send a named event; a function as last argument is called with the acknowledgement. */
    emit(event, ...args) {
        const done = typeof args.at(-1) === "function" ? args.pop() : null;
        const data = args.length === 1 && isBytes(args[0]) ? args[0] : args;
        const item = this.#add(done ? "x" : "e", [String(event)], data);
        if (done) {
            const spread = (values) => {
                try {
                    done(...(Array.isArray(values) ? values : [values]));
                } catch (error) {
                    report(error);
                }
            };
            // Without a limit, so that it waits for a connection as any other event does.
            this.#call(item, spread, () => {}, 0);
        }
    }

    /** Call `run` with the arguments of each named event; returns what ends that. */
    on(event, run) {
        const all = this.#listeners.get(event) ?? new Set();
        this.#listeners.set(event, all.add(run));
        return () => void all.delete(run);
    }

    #call(item, resolve, reject, timeout) {
        if (!item) return reject(new RequestError(1006, "the socket is closed"));
        item.settle = (error, value) => {
            this.#clock.clearTimeout(timer);
            this.#calls.delete(item.number);
            item.settle = () => {};
            if (error) reject(error);
            else resolve(value);
        };
        const timer = timeout && this.#clock.setTimeout(() => {
            // What was never sent need not be.
            if (!item.number) this.#items.splice(this.#items.indexOf(item), 1);
            item.settle(new RequestError(TIMED_OUT, "no answer in time"));
        }, timeout);
        if (item.number) this.#calls.set(item.number, item);
    }

    // ---------------------------------------------------------------- what goes

    #add(kind, head, data, blobSize) {
        if (this.#readyState >= CLOSING) return null; // as of a WebSocket, it goes nowhere
        const open = this.#state === "open";
        if (!open && this.#options.offline === "throw") {
            throw new DOMException("the socket is not open", "InvalidStateError");
        }
        if (this.#items.length >= (open ? Math.max(MOST_SENT, this.#options.maxQueue) : this.#options.maxQueue)) {
            throw new DOMException("too many messages wait", "QuotaExceededError");
        }
        const item = { kind, head, number: 0, ready: data !== null || blobSize === undefined };
        if (isBytes(data)) item.bytes = copy(data);
        else if (item.ready) item.json = toJson(data) ?? "null";
        item.size = blobSize ?? sizeOf(item.bytes ?? item.json);
        item.original = data;
        if (this.#max && item.size + 64 > this.#max && this.#tooBig(item)) {
            throw new DOMException(`a message may have ${this.#max} bytes`, "DataError");
        }
        this.#items.push(item);
        this.#flush();
        return item;
    }

    #envelope(item) {
        const head = toJson([item.kind, item.number, this.#had, ...item.head]).slice(0, -1);
        if (!item.bytes) return `${head},${item.json}]`;
        const start = encode(head + "]\n");
        const whole = new Uint8Array(start.length + item.bytes.length);
        whole.set(start);
        whole.set(item.bytes, start.length);
        return whole;
    }

    #tooBig(item) {
        if (!item.ready) return item.size + 64 > this.#max;
        const envelope = this.#envelope(item);
        const size = item.bytes ? envelope.length : encode(envelope).length;
        return size + 32 > this.#max; // its numbers grow
    }

    #flush() {
        if (this.#state !== "open" || this.#readyState !== OPEN) return;
        for (const item of this.#items) {
            if (item.number) continue;
            if (!item.ready) return; // a Blob is being read, and what follows stays behind it
            item.number = ++this.#sent;
            if (item.settle) this.#calls.set(item.number, item);
            this.#transmit(this.#envelope(item));
        }
    }

    #transmit(envelope) {
        this.#owed = this.#owedSize = 0;
        this.#socket.send(envelope);
    }

    #acknowledged(number) {
        let count = 0;
        while (count < this.#items.length && this.#items[count].number && this.#items[count].number <= number) count++;
        this.#items.splice(0, count);
    }

    // ---------------------------------------------------------------- what comes

    #receive(data) {
        this.#heard = this.#clock.now();
        this.#probed = false;
        let envelope, bytes;
        if (typeof data === "string") {
            envelope = JSON.parse(data);
        } else {
            const all = new Uint8Array(data);
            const end = all.indexOf(10);
            envelope = JSON.parse(new TextDecoder().decode(all.subarray(0, end)));
            bytes = data.slice(end + 1);
        }
        const [kind, number, had, ...rest] = envelope;
        if (kind === "welcome") return this.#welcome(number);
        if (this.#state !== "open") throw new Error("an envelope before the welcome");
        if (kind === "a") {
            this.#acknowledged(number);
            if (this.#owed) this.#transmit(`["a",${this.#had}]`);
            return;
        }
        if (!(number <= this.#had + 1)) throw new Error("a gap");
        this.#acknowledged(had);
        if (number <= this.#had) return;
        this.#had = number;
        this.#owed++;
        this.#owedSize += sizeOf(data);
        if (bytes) rest.push(bytes);
        // A listener's exception is reported, and does not end the connection.
        this.#handle(kind, rest, !!bytes);
        if ((this.#owed >= OWED || this.#owedSize >= OWED_SIZE) && this.#state === "open") {
            this.#transmit(`["a",${this.#had}]`);
        }
    }

    #handle(kind, [first, second, third, fourth, fifth], binary) {
        switch (kind) {
            case "m":
                return this.#message(first, {});
            case "e":
                return this.#named(first, binary ? [second] : second);
            case "ok":
                return this.#calls.get(first)?.settle(null, second);
            case "err":
                return this.#calls.get(first)?.settle(new RequestError(second, third));
            case "j": {
                // What was not asked for may have been missed, too.
                const { offset, epoch } = this.#positions.get(first) ?? {};
                const missed = this.#unsaid.delete(first) && (offset !== second || epoch !== third);
                this.#positions.set(first, { group: first, offset: second, epoch: third });
                if (!fourth || missed) this.#fire("resume", { recovered: false, group: first, unconfirmed: [] });
                return;
            }
            case "l":
                return this.#positions.delete(first);
            case "g":
            case "h":
                this.#positions.set(first, { group: first, offset: second, epoch: third });
                if (fourth) return this.#named(fourth, binary ? [fifth] : fifth);
                return this.#message(fifth, { group: first, offset: second, epoch: third, recovered: kind === "h" });
            default:
                throw new Error(`an envelope of kind ${kind}`);
        }
    }

    #message(data, fields) {
        if (typeof data !== "string" && this.binaryType === "blob") data = new Blob([data]);
        this.#fire("message", { data, origin: new URL(this.url).origin, ...fields }, MessageEvent);
    }

    #named(name, args) {
        for (const run of [...(this.#listeners.get(name) ?? [])]) {
            try {
                run(...args);
            } catch (error) {
                report(error);
            }
        }
    }

    #fire(type, fields, Class) {
        this.dispatchEvent(makeEvent(type, fields, Class));
    }

    // ---------------------------------------------------------------- connections

    #connect() {
        if (globalThis.navigator?.onLine === false) return this.#become("offline");
        const socket = (this.#socket = new this.#options.WebSocket(this.url, [PROTOCOL]));
        const mine = (run) => (event) => socket === this.#socket && run(event);
        socket.binaryType = "arraybuffer";
        socket.onopen = mine(async () => {
            let { auth, ticket } = this.#options;
            try {
                if (typeof auth === "function") auth = await auth();
                // A ticket that is a string is used up by the first session.
                ticket = typeof ticket === "function" ? await ticket() : this.#began ? undefined : ticket;
            } catch (error) {
                report(error);
                return socket === this.#socket && this.#lost(SILENT);
            }
            if (socket !== this.#socket || socket.readyState !== OPEN) return;
            if (ticket) auth = { ...auth, ticket };
            const words = { auth, since: [], token: this.#token || undefined, had: this.#token ? this.#had : undefined };
            const since = this.#since((this.#began ? this.#max || Infinity : HELLO) - encode(toJson(words)).length);
            socket.send(toJson(["hello", { ...words, since: since.length ? since : undefined }]));
        });
        socket.onmessage = mine((event) => {
            try {
                this.#receive(event.data);
            } catch (error) {
                // The other side does not speak the protocol; whether it does next time is seen then.
                this.#lost(SILENT);
            }
        });
        socket.onclose = mine((event) => this.#lost(event.code, event.reason, event.wasClean));
        // A close with 1006 follows, but not in Node before 22.
        socket.onerror = mine(() => this.#lost(1006));
        this.#after(CONNECT_TIMEOUT, () => this.#lost(SILENT));
        this.#become("connecting");
    }

    /** Positions for a hello that has so many bytes left for them. */
    #since(room) {
        const since = [];
        this.#unsaid.clear();
        room -= 64; // what is around them
        for (const [group, position] of this.#positions) {
            if (!position.epoch) continue;
            const size = encode(toJson(position)).length + 1;
            if (size > room) {
                this.#unsaid.add(group);
            } else {
                room -= size;
                since.push(position);
            }
        }
        return since;
    }

    #welcome({ token, resumed, had, silence, max }) {
        const again = this.#began;
        this.#began = true;
        this.#token = token;
        this.#silence = silence;
        this.#max = max ?? 0;
        this.#attempt = 0;
        this.#unauthorized = false;
        this.#owed = this.#owedSize = 0;
        this.#listen();
        if (resumed) {
            this.#unsaid.clear();
            for (const item of this.#items) {
                if (item.number > had) this.#transmit(this.#envelope(item));
            }
            this.#become("open");
            this.#fire("resume", { recovered: true, unconfirmed: [] });
            return this.#flush();
        }
        // Another handler: what the last one may have had is not repeated, but told.
        const doubtful = this.#items.filter((item) => item.number);
        const waiting = this.#items.filter((item) => !item.number);
        this.#items = [];
        this.#sent = this.#had = 0;
        for (const item of [...this.#calls.values()]) {
            item.settle(new RequestError(LOST, "the session is gone"));
        }
        const unconfirmed = doubtful
            .filter((item) => item.kind !== "r")
            .map(({ kind, head, bytes, original }) =>
                kind === "m" ? (bytes?.buffer ?? original) : { event: head[0], args: bytes ? [bytes.buffer] : original });
        this.#become("open");
        if (again) this.#fire("resume", { recovered: false, unconfirmed });
        this.#fire("open", {});
        // What the page says to a new handler first goes first.
        this.#items.push(...waiting);
        this.#flush();
    }

    /** The connection is over; go on as its code says. */
    #lost(code, reason = "", wasClean = false) {
        const open = this.#state === "open";
        this.#drop();
        if (this.#readyState === CLOSING) return this.#end(code, reason, wasClean);
        const once = code === 4401 && !this.#unauthorized;
        if (isFinal(code) && !once) return this.#end(code, reason, wasClean);
        if (once) this.#unauthorized = true;
        this.#readyState = CONNECTING;
        if (code === 1012 && open && globalThis.navigator?.onLine !== false) return this.#connect();
        const bound = Math.min(LAST_DELAY, FIRST_DELAY * 2 ** this.#attempt++);
        this.#after(this.#clock.random() * bound, () => this.#connect());
        this.#become("offline");
    }

    /** Forget the socket, whatever becomes of it. */
    #drop(code = SILENT, reason = "") {
        const socket = this.#socket;
        this.#socket = null;
        this.#clock.clearTimeout(this.#timer);
        if (socket && socket.readyState < CLOSING) socket.close(code, reason);
    }

    #end(code, reason, wasClean) {
        this.#drop();
        for (const type of ["online", "offline", "pageshow"]) {
            globalThis.removeEventListener?.(type, this.#wake);
        }
        globalThis.document?.removeEventListener("visibilitychange", this.#wake);
        this.#readyState = CLOSED;
        const items = this.#items;
        this.#items = [];
        const error = new RequestError(code, reason || "the socket is closed");
        for (const item of [...this.#calls.values(), ...items]) item.settle?.(error);
        this.#become("closed");
        if (!wasClean) this.#fire("error", {});
        this.#fire("close", { code, reason, wasClean }, globalThis.CloseEvent);
    }

    #become(state) {
        if (state === "open" && this.#readyState === CONNECTING) this.#readyState = OPEN;
        if (state === this.#state) return;
        this.#state = state;
        this.#fire("statechange", { state });
    }

    // ---------------------------------------------------------------- time

    #after(delay, run) {
        this.#clock.clearTimeout(this.#timer);
        this.#timer = this.#clock.setTimeout(run, delay);
    }

    #listen() {
        this.#heard = this.#clock.now();
        this.#probed = false;
        this.#watch(this.#silence);
    }

    #watch(delay) {
        this.#after(delay, () => {
            const left = this.#heard + this.#silence - this.#clock.now();
            if (this.#probed) this.#lost(SILENT);
            else if (left > 0) this.#watch(left);
            else this.#probe();
        });
    }

    /** Ask for a sign of life; timers of a page that slept prove nothing. */
    #probe() {
        this.#probed = true;
        this.#transmit(`["p",${this.#had}]`);
        this.#watch(PROBE_TIMEOUT);
    }

    #wake = ({ type }) => {
        if (this.#readyState >= CLOSING) return;
        if (this.#state === "open") {
            if (!this.#probed) this.#probe();
        } else if (globalThis.navigator?.onLine === false) {
            if (this.#state === "offline") this.#clock.clearTimeout(this.#timer);
        } else if (this.#state === "offline" && !(type === "visibilitychange" && document.visibilityState === "hidden")) {
            this.#clock.clearTimeout(this.#timer);
            this.#connect();
        }
    };
}

const constants = { CONNECTING, OPEN, CLOSING, CLOSED };
for (const name in constants) {
    for (const place of [Socket, Socket.prototype]) {
        Object.defineProperty(place, name, { value: constants[name], enumerable: true });
    }
}

for (const type of ["open", "message", "error", "close", "statechange", "resume"]) {
    const handlers = new WeakMap();
    Object.defineProperty(Socket.prototype, `on${type}`, {
        get() {
            return handlers.get(this)?.run ?? null;
        },
        set(run) {
            // The listener stays where it was first registered, as of any event handler attribute.
            let handler = handlers.get(this);
            if (!handler) {
                handlers.set(this, (handler = {}));
                this.addEventListener(type, (event) => handler.run?.call(this, event));
            }
            handler.run = typeof run === "function" ? run : null;
        },
    });
}
