// A list that the admin changes, kept up by hand.

import { connect } from "../showcase/socket.js";

const list = document.getElementById("orders");
const { url, offset, epoch } = list.dataset;

// Everything up to this position is in the page.
connect(`${url}?${new URLSearchParams({ offset, epoch })}`, {
    // What came meanwhile is in a new page.
    onOpen: (first) => first || location.reload(),
    onMessage: (data) => show(JSON.parse(data)),
});

function show({ id, name, status, deleted }) {
    let item = document.getElementById(`order-${id}`);
    if (deleted) return item?.remove();
    if (!item) {
        item = document.createElement("li");
        item.id = `order-${id}`;
        item.append(document.createElement("span"), " ", document.createElement("b"));
        list.append(item);
    }
    item.dataset.status = status;
    item.firstElementChild.textContent = name;
    item.lastElementChild.textContent = status;
}
