import { RequestError, Socket } from "../../src/django_ws/static/django_ws/client.js";

const socket = new Socket("/ws/", { since: { offset: 1, epoch: "e" }, ticket: async () => "t", offline: "queue" });
const plain: Pick<WebSocket, "send" | "close" | "readyState" | "binaryType" | "bufferedAmount" | "url"> = socket;
socket.onmessage = (event) => console.log(event.data, event.group, event.offset, event.recovered, plain.url);
socket.addEventListener("resume", (event) => console.log(event.recovered, event.unconfirmed.length));
socket.on("tick", (count: number) => count + 1)();
socket.emit("typing", true, (done: boolean) => done);
socket.request<string[]>({ page: 1 }, { timeout: 10 }).catch((error: RequestError) => error.code);
