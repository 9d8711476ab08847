// The server of Socket.IO, as its documents have it. Argument: the port.
const { Server } = require("socket.io");

const io = new Server(Number(process.argv[2]), { serveClient: false });

io.on("connection", (socket) => {
  socket.on("echo", (message) => socket.emit("echo", message));
  socket.on("sleep", (message) => setTimeout(() => socket.emit("echo", message), 10));
  socket.on("join", (message) => {
    socket.join("fan");
    socket.emit("echo", message);
  });
  socket.on("fan", (message) => io.to("fan").emit("echo", message));
});
