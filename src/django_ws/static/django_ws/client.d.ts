/** How far a group has come, as `{% ws_position %}` renders it. */
export interface Position {
    group?: string;
    offset: number;
    epoch: string;
}

/** Where time and chance come from; for tests. */
export interface Clock {
    now(): number;
    setTimeout(run: () => void, delay: number): unknown;
    clearTimeout(id: unknown): void;
    random(): number;
}

type Later<T> = T | (() => T | Promise<T>);

export interface SocketOptions {
    /** What the page already shows; publications after it come first. */
    since?: Position | Position[];
    /** The handler's `auth`: any JSON value, or a function that is asked at each connection. */
    auth?: Later<unknown>;
    /** From `{% ws_ticket %}`; only a function can bring one for a later session. */
    ticket?: Later<string | undefined>;
    /** What `send` does without a connection; `"queue"` by default. */
    offline?: "queue" | "throw";
    /** Messages that may wait without a connection; 1000 by default. */
    maxQueue?: number;
    WebSocket?: new (url: string, protocols?: string | string[]) => WebSocket;
    clock?: Clock;
}

export type State = "connecting" | "open" | "offline" | "closed";
export type Bytes = ArrayBuffer | ArrayBufferView;
export type Data = string | Bytes | Blob;

/** Group, offset and epoch are there for publications; `recovered` says that it comes from history. */
export interface SocketMessageEvent extends MessageEvent {
    readonly group?: string;
    readonly offset?: number;
    readonly epoch?: string;
    readonly recovered?: boolean;
}

/** The connection is back; or, with `group`, something published there is lost. */
export interface ResumeEvent extends Event {
    readonly recovered: boolean;
    readonly group?: string;
    /** Of the last session: sent, and whether it was handled is not known. */
    readonly unconfirmed: (string | ArrayBuffer | { event: string; args: unknown[] })[];
}

export interface StateEvent extends Event {
    readonly state: State;
}

export interface SocketEventMap {
    open: Event;
    message: SocketMessageEvent;
    error: Event;
    close: CloseEvent;
    statechange: StateEvent;
    resume: ResumeEvent;
}

export class RequestError extends Error {
    constructor(code: number, message: string);
    readonly code: number;
}

export class Socket extends EventTarget {
    static readonly CONNECTING: 0;
    static readonly OPEN: 1;
    static readonly CLOSING: 2;
    static readonly CLOSED: 3;
    readonly CONNECTING: 0;
    readonly OPEN: 1;
    readonly CLOSING: 2;
    readonly CLOSED: 3;

    constructor(url: string | URL, options?: SocketOptions);

    readonly url: string;
    readonly protocol: string;
    readonly extensions: string;
    readonly readyState: 0 | 1 | 2 | 3;
    readonly bufferedAmount: number;
    readonly state: State;
    binaryType: BinaryType;

    onopen: ((this: Socket, event: Event) => unknown) | null;
    onmessage: ((this: Socket, event: SocketMessageEvent) => unknown) | null;
    onerror: ((this: Socket, event: Event) => unknown) | null;
    onclose: ((this: Socket, event: CloseEvent) => unknown) | null;
    onstatechange: ((this: Socket, event: StateEvent) => unknown) | null;
    onresume: ((this: Socket, event: ResumeEvent) => unknown) | null;

    send(data: Data): void;
    close(code?: number, reason?: string): void;
    request<T = unknown>(data: unknown, options?: { timeout?: number }): Promise<T>;
    emit(event: string, ...args: unknown[]): void;
    on(event: string, run: (...args: any[]) => void): () => void;

    addEventListener<K extends keyof SocketEventMap>(
        type: K,
        listener: (this: Socket, event: SocketEventMap[K]) => unknown,
        options?: boolean | AddEventListenerOptions,
    ): void;
    addEventListener(
        type: string,
        listener: EventListenerOrEventListenerObject | null,
        options?: boolean | AddEventListenerOptions,
    ): void;
}
