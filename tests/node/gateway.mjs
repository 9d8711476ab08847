// A gateway and a clock that do what a test says.

export class Clock {
    time = 0;
    timers = new Map();
    #next = 1;
    chance = 0.5;
    now = () => this.time;
    random = () => this.chance;
    setTimeout = (run, delay) => {
        this.timers.set(this.#next, { at: this.time + delay, run });
        return this.#next++;
    };
    clearTimeout = (id) => void this.timers.delete(id);
    pass(time) {
        const end = this.time + time;
        for (;;) {
            const due = [...this.timers].filter(([, timer]) => timer.at <= end).sort((a, b) => a[1].at - b[1].at)[0];
            if (!due) break;
            this.timers.delete(due[0]);
            this.time = due[1].at;
            due[1].run();
        }
        this.time = end;
    }
}

export function gateway() {
    const sockets = [];
    class FakeWebSocket {
        readyState = 0;
        bufferedAmount = 0;
        sent = [];
        constructor(url, protocols) {
            Object.assign(this, { url, protocols });
            if (sockets.some((other) => other.readyState < 2)) throw new Error("two at a time");
            sockets.push(this);
        }
        send(data) {
            if (this.readyState === 0) throw new Error("not open");
            this.sent.push(typeof data === "string" ? data : new Uint8Array(data));
        }
        close(code) {
            this.readyState = 2;
            this.closedWith = code;
        }
        async accept() {
            this.readyState = 1;
            await this.onopen({});
        }
        give(data) {
            this.onmessage({ data: typeof data === "string" ? data : data.buffer.slice(0) });
        }
        say(...envelope) {
            this.give(JSON.stringify(envelope));
        }
        end(code, reason = "") {
            this.readyState = 3;
            this.onclose({ code, reason, wasClean: code !== 1006 });
        }
        async welcome(options = {}) {
            await this.accept();
            this.say("welcome", { token: "t", id: "c", resumed: false, had: 0, silence: 33000, ttl: 60000, ...options });
        }
        get said() {
            return this.sent.filter((data) => typeof data === "string").map((data) => JSON.parse(data));
        }
    }
    return { sockets, WebSocket: FakeWebSocket, get last() { return sockets.at(-1); } };
}
