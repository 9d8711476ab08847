"""What the machines of a cluster serve; and, as a program, what publishes numbers to them."""

import json
import os
import sys
import time

from django_ws import PublishError, WebSocketHandler, history, position, presence, publish


class Member(WebSocketHandler):
    """A member of a group, from a position that it is told; publishes what it hears."""

    def on_connect(self):
        self.group = self.request.GET["group"]
        self.info = {"who": self.request.GET.get("who", "")}
        since = self.request.GET.get("since")
        position = self.join(self.group, since=json.loads(since) if since else None)
        self.send(json.dumps({"position": position, "id": self.id}))

    def on_message(self, message):
        if message == "ask":
            there = {each.id.partition("-")[0] for each in presence(self.group)}
            publish(self.group, "any code", exclude=self.id)
            done = publish(self.group, "waited for", wait=True)
            last = history(self.group).publications[-1].data
            position_ = position(self.group)
            self.send(json.dumps([done.offset, last, position_.offset, len(there)]))
        elif message.startswith("confirm "):
            text = message.removeprefix("confirm ")
            self.send(json.dumps([text, *confirmed(self.group, text)]))
        else:
            self.publish(self.group, message)


def confirmed(group, text):
    """Publish; where it got, or how it failed, and how many seconds that took."""
    began = time.monotonic()
    try:
        done = publish(group, text, wait=True)
        said = [done.offset, done.epoch]
    except PublishError as error:
        said = [type(error).__name__, str(error)]
    return [*said, time.monotonic() - began]


def main(name, group, rate):
    """Publish numbers until the standard input ends; print what became of each."""
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
    django.setup()

    os.set_blocking(0, False)
    number = 0
    while sys.stdin.buffer.raw.read(1) != b"":
        number += 1
        print(json.dumps([number, *confirmed(group, f"{name}-{number}")]), flush=True)
        time.sleep(1 / float(rate))


if __name__ == "__main__":
    main(*sys.argv[1:])
