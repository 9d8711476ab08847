import { connect } from "./socket.js";

const SHOWN = 200;

const count = document.getElementById("count");
const people = document.getElementById("people");
const fewer = document.getElementById("fewer");
const extra = [];

const tab = connect("visitors", {
    onOpen: () => tab.send("here"),
    onMessage: (data) => {
        count.value = data;
        const dots = Math.min(Number(data), SHOWN);
        while (people.childElementCount > dots) people.lastElementChild.remove();
        while (people.childElementCount < dots) people.append(document.createElement("i"));
    },
});

document.getElementById("more").addEventListener("click", () => {
    for (let number = 0; number < 10; number++) {
        const visitor = connect("visitors", { onOpen: () => visitor.send("here") });
        extra.push(visitor);
    }
    fewer.disabled = false;
});

fewer.addEventListener("click", () => {
    for (const visitor of extra.splice(0)) visitor.close();
    fewer.disabled = true;
});
