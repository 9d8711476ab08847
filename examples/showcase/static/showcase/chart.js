// Round trips over time. The scale is logarithmic: one that had to wait for a blocking handler
// would stand at the line of one second.

const SPAN = 10_000; // milliseconds
const LEAST = 0.1;
const MOST = 3000;
const LINES = [[1, "1 ms"], [10, "10 ms"], [100, "100 ms"], [1000, "1 s"]];
const LEFT = 48; // pixels, for the labels

export class Chart {
    #canvas;
    #points = [];
    #blocks = []; // [start, end], while somebody blocks

    constructor(canvas) {
        this.#canvas = canvas;
        const frame = () => {
            this.#draw();
            requestAnimationFrame(frame);
        };
        requestAnimationFrame(frame);
    }

    add(time, ms) {
        this.#points.push([time, ms]);
        const first = performance.now() - SPAN;
        while (this.#points.length && this.#points[0][0] < first) this.#points.shift();
        while (this.#blocks.length && this.#blocks[0][1] < first) this.#blocks.shift();
    }

    block(time) {
        this.#blocks.push([time, Infinity]);
    }

    unblock(time) {
        this.#blocks.at(-1)[1] = time;
    }

    #draw() {
        const scale = window.devicePixelRatio || 1;
        const { clientWidth: width, clientHeight: height } = this.#canvas;
        if (this.#canvas.width !== Math.round(width * scale)
            || this.#canvas.height !== Math.round(height * scale)) {
            this.#canvas.width = Math.round(width * scale);
            this.#canvas.height = Math.round(height * scale);
        }
        const style = getComputedStyle(this.#canvas);
        const context = this.#canvas.getContext("2d");
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, width, height);

        const now = performance.now();
        const x = (time) => LEFT + (width - LEFT) * (1 - Math.min((now - time) / SPAN, 1));
        const y = (ms) => {
            const share = Math.log(Math.min(Math.max(ms, LEAST), MOST) / LEAST)
                / Math.log(MOST / LEAST);
            return height - 6 - (height - 16) * share;
        };

        context.fillStyle = style.getPropertyValue("--shade");
        for (const [start, end] of this.#blocks) {
            const right = x(Math.min(end, now));
            context.fillRect(x(start), 0, right - x(start), height);
        }

        context.font = `12px ${style.fontFamily}`;
        context.textBaseline = "middle";
        context.fillStyle = style.getPropertyValue("--quiet");
        context.strokeStyle = style.getPropertyValue("--line");
        context.lineWidth = 1;
        for (const [ms, label] of LINES) {
            context.fillText(label, 0, y(ms));
            context.beginPath();
            context.moveTo(LEFT, y(ms));
            context.lineTo(width, y(ms));
            context.stroke();
        }

        context.strokeStyle = style.getPropertyValue("--accent");
        context.lineWidth = 2;
        context.lineJoin = "round";
        context.beginPath();
        for (const [time, ms] of this.#points) context.lineTo(x(time), y(ms));
        context.stroke();
    }
}
