import { connect } from "./socket.js";

const EVERY = 500; // milliseconds
const SHOWN = 60;

const number = document.getElementById("number");
const history = document.getElementById("history");
const draws = document.getElementById("draws");
const mean = document.getElementById("mean");
let count = 0;
let sum = 0;

const socket = connect("", {
    onOpen: () => socket.send("next"),
    onMessage: (data) => {
        count += 1;
        sum += Number(data);
        number.value = data;
        draws.value = count;
        mean.value = (sum / count).toFixed(1);
        const column = document.createElement("i");
        column.style.setProperty("--height", `${data}%`);
        history.append(column);
        if (history.childElementCount > SHOWN) history.firstElementChild.remove();
    },
});

setInterval(() => socket.send("next"), EVERY);
