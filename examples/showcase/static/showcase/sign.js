/** The page's own sign in its header: whether its sockets are open. */
export function setSign(state) {
    const sign = document.getElementById("link");
    if (sign.dataset.state !== state) {
        sign.dataset.state = state;
        sign.textContent = state;
    }
}
