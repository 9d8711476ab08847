"""A process that publishes as a view does: in a thread without an event loop, one call at a time.

Each line of its input is a number of calls and the seconds between two of them. It answers with the
seconds that were spent in calls.
"""

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import django

#: As of a member that sends one itself, see ``runner/frames.py``.
MESSAGE = "x" * 64


def by_django_ws() -> Callable[[], object]:
    from django_ws import publish

    return lambda: publish("fan", MESSAGE)


def by_channels() -> Callable[[], object]:
    from asgiref.sync import async_to_sync
    from channels.layers import get_channel_layer

    layer = get_channel_layer()
    return lambda: async_to_sync(layer.group_send)("fan", {"type": "fan.out", "text": MESSAGE})


def calls(publish: Callable[[], object], number: int, pause: float) -> float:
    """Publish; returns the seconds that the calls took."""
    spent = 0.0
    for _ in range(number):
        began = time.perf_counter()
        publish()
        spent += time.perf_counter() - began
        if pause:
            time.sleep(pause)
    return spent


def main() -> None:
    django.setup()
    channels = os.environ.get("BENCH_STACK") == "channels"
    publish = by_channels() if channels else by_django_ws()
    print("ready", flush=True)
    with ThreadPoolExecutor(1) as view:
        for line in sys.stdin:
            number, pause = line.split()
            spent = view.submit(calls, publish, int(number), float(pause)).result()
            print(spent, flush=True)


if __name__ == "__main__":
    main()
