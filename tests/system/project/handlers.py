"""Handlers that do as the tests tell them, and note in the journal what happened."""

import contextlib
import json
import os
import sys
import threading
import time
from _thread import start_new_thread
from types import SimpleNamespace

from asgiref.sync import async_to_sync
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.dispatch import receiver
from django.utils.functional import cached_property
from journal import note

from django_ws import JsonWebSocketHandler, Reject, WebSocketHandler, apublish, publish
from django_ws.auth import login_required
from django_ws.signals import gateway_started


@receiver(gateway_started)
def started(gateway, endpoint, **kwargs):
    note("gateway", gateway, endpoint)


class Echo(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


class Noting(WebSocketHandler):
    """Notes the connection by what its query string calls it."""

    @property
    def who(self):
        return self.request.GET.get("who", "")

    def on_connect(self):
        note("connect", self.who)

    def on_close(self):
        note("close", self.who, self.close_code, self.close_reason)


class Hooks(Noting):
    RETURNS = {"none": None, "false": False, "true": True, "zero": 0, "text": "", "object": []}

    def on_open(self, message):
        note("open", self.who, message)
        return self.RETURNS.get(message)

    def on_message(self, message):
        command, _, rest = message.partition(" ")
        if command == "nap":  # keeps the connection busy, so that what follows is queued
            time.sleep(float(rest))
        note("message", self.who, message)
        if command == "close":
            code, _, reason = rest.partition(" ")
            self.close(int(code), reason)
        elif command == "raise":
            raise ValueError(rest)
        elif command == "denied":
            raise PermissionDenied
        elif command == "exit":
            os._exit(7)
        self.send(f"had {message}")


class Door(Noting):
    """``on_connect`` does what the query says."""

    def on_connect(self):
        super().on_connect()
        door = self.request.GET.get("door", "")
        self.send("from on_connect")
        self.send(b"and more")
        if self.request.GET.get("subprotocol"):
            self.subprotocol = self.request.GET["subprotocol"]
        if door == "reject":
            raise Reject(451, "not here")
        if door == "denied":
            raise PermissionDenied
        if door == "raise":
            raise RuntimeError("the door is broken")
        if door == "slow":
            time.sleep(5)
        return {"true": True, "false": False}.get(door)

    def on_message(self, message):
        self.send(json.dumps([dict(self.kwargs), self.namespace, self.subprotocol]))


class Sleep(Noting):
    def on_message(self, message):
        note("sleep", self.who)
        time.sleep(float(message))
        self.send("done")


class Loop(Noting):
    def on_open(self, message):
        self.state["period"] = float(message)
        self._loop()
        return True

    def on_restore(self):
        if "period" in self.state:
            self._loop()

    def _loop(self):
        while not self.wait(self.state["period"]):
            self.state["turns"] = self.state.get("turns", 0) + 1
            self.send(str(self.state["turns"]))
        note("loop ends", self.who, self.closed, self.stopping)


class Sender(WebSocketHandler):
    """Sends what the message describes: kind and size."""

    def on_message(self, message):
        kind, size = message.split()
        body = "x" * int(size)
        if kind == "later":
            threading.Thread(target=self._later, args=(body,)).start()
        else:
            self.send(body if kind == "text" else body.encode())

    def _later(self, body):
        time.sleep(0.1)  # so that the hook has returned
        self.send(body)


class Json(JsonWebSocketHandler):
    def on_open(self, message):
        self.send_json({"open": message})

    def on_message(self, message):
        self.send_json({"message": message})


class State(WebSocketHandler):
    def on_message(self, message):
        self.state["count"] = self.state.get("count", 0) + 1
        self.send(f"{self.state['count']} {os.getpid()}")


class Attributes(Noting):
    """Keeps what it knows where everybody writes it first."""

    def on_connect(self):
        self.room = self.who
        self.seen = []

    def on_message(self, message):
        self.seen.append(message)
        self.send(f"{self.room} {len(self.seen)} {self.seen[-1]} {os.getpid()}")


class Flood(Noting):
    """Sends faster than anybody reads, until that fails."""

    def on_message(self, message):
        body = b"x" * int(message)
        began = before = time.monotonic()
        sent = 0
        try:
            while True:
                before = time.monotonic()
                self.send(body)
                sent += len(body)
        except Exception as error:
            now = time.monotonic()
            note("flood", self.who, type(error).__name__, sent, now - before, now - began)
            raise


class Ledger(Noting):
    """Notes each message, counts it in its state, and answers; some take longer than others."""

    def on_restore(self):
        note("restore", self.who, self.state.get("count", 0))

    def on_message(self, message):
        number = int(message)
        # Some are always in flight, before or after they have had an effect.
        nap = 0.05 if number % 7 == 0 else 0.005
        time.sleep(nap if number % 2 else 0)
        count = self.state["count"] = self.state.get("count", 0) + 1
        note("handled", self.who, number, count)
        time.sleep(0 if number % 2 else nap)
        self.send(f"{number} {count}")


class Carried(Noting):
    """A ledger that keeps what it knows in attributes of all plain types; it has no ``on_restore``.

    The count that it notes is -1 once they do not agree with each other.
    """

    def on_connect(self):
        super().on_connect()
        self.room, self.count, self.half, self.nothing = self.who, 0, 0.0, None
        self.even, self.digits = True, b""
        self.last, self.tally = [], {"odd": 0, "even": {"of": 0}}

    @cached_property
    def process(self):
        """Wrong in any process but the one that computed it."""
        return os.getpid()

    def on_message(self, message):
        number = int(message)
        nap = 0.05 if number % 7 == 0 else 0.005
        time.sleep(nap if number % 2 else 0)
        agree = self._agree()
        self.count += 1
        self.half += 0.5
        self.even = not self.even
        self.digits = str(self.count).encode()
        self.last = [*self.last, number][-3:]
        if number % 2:
            self.tally["odd"] += 1
        else:
            self.tally["even"]["of"] += 1
        note("handled", self.who, number, self.count if agree else -1)
        time.sleep(0 if number % 2 else nap)
        self.send(f"{number} {self.count}")

    def _agree(self):
        return (
            self.process == os.getpid()
            and self.room == self.who
            and self.nothing is None
            and self.half == self.count / 2
            and self.even is (self.count % 2 == 0)
            and self.digits == (str(self.count).encode() if self.count else b"")
            and self.last == list(range(1, self.count + 1))[-3:]
            and self.tally == {"odd": (self.count + 1) // 2, "even": {"of": self.count // 2}}
        )


class Elsewhere(WebSocketHandler):
    """Answers from a thread of the operating system, which under gevent is not a greenlet."""

    def on_message(self, message):
        monkey = sys.modules.get("gevent.monkey")
        start = monkey.get_original("_thread", "start_new_thread") if monkey else start_new_thread
        start(self.send, (message,))


class Where(WebSocketHandler):
    def on_message(self, message):
        self.send(self.gateway)


class Forks(WebSocketHandler):
    """Forks a process, tells its pid, and by which signal it ended."""

    def on_message(self, message):
        pid = os.fork()
        if not pid:
            time.sleep(60)
            os._exit(0)
        self.send(str(pid))
        self.send(str(os.WTERMSIG(os.waitpid(pid, 0)[1])))


class Rooms(WebSocketHandler):
    """A member of a group, from a position that it is told."""

    def on_connect(self):
        self.info = {"who": self.request.GET.get("who", "")}
        since = self.request.GET.get("since")
        position = self.join("room", since=json.loads(since) if since else None)
        self.send(json.dumps(position))
        if self.request.GET.get("greets"):
            self.publish("room", "here I am")

    def on_message(self, message):
        if message == "commit":
            with transaction.atomic():
                self.publish("room", {"said": "kept"})
                with contextlib.suppress(ZeroDivisionError), transaction.atomic():
                    self.publish("room", "dropped")
                    raise ZeroDivisionError
                self.send("before the commit")
        elif message == "outer":
            publish("room", "from anywhere", exclude=self.id)
        elif message == "wait":
            self.send(str(publish("room", "waited for", wait=True).offset))
        else:
            self.publish("room", message)


class Voices(WebSocketHandler):
    """Counts in both ways in turns: in a hook, on commit, and in a thread of its own."""

    def on_connect(self):
        self.group = self.request.GET["group"]
        self.join(self.group)

    def on_message(self, message):
        if message == "where":
            self.send(self.gateway)
        elif message == "all":
            thread = threading.Thread(target=self.count, args=("thread", 40))
            thread.start()
            self.count("hook", 40)
            with transaction.atomic():
                self.count("commit", 20)
            async_to_sync(self.count_async)(10)
            thread.join()
        else:
            self.publish(self.group, [self.who, message, 0])

    def on_close(self):
        self.publish(self.group, [self.who, "left", 0])

    @property
    def who(self):
        return self.request.GET["who"]

    def count(self, kind, numbers):
        for number in range(numbers):
            how = self.publish if number % 2 else publish
            how(self.group, [self.who, kind, number])

    async def count_async(self, numbers):
        for number in range(numbers):
            if number % 2:
                self.publish(self.group, [self.who, "async", number])
            else:
                await apublish(self.group, [self.who, "async", number])


class Flapping(Noting):
    """A member of a group; answers each message with how many came."""

    def on_connect(self):
        self.join("flapping")

    def on_message(self, message):
        count = self.state["count"] = self.state.get("count", 0) + 1
        self.send(f"{message} {count}")


class Day(Noting):
    """Has a URL of its own."""

    def on_message(self, message):
        day = self.kwargs["day"]
        self.send(f"{type(day).__name__} {day} {os.getpid()}")


class Suite(WebSocketHandler):
    """What the official suite of Socket.IO asks of a server."""

    def on_connect(self):
        if self.auth is not None:
            self.emit("auth", self.auth)

    def on_message(self, message):
        self.send(message)

    def on_event(self, event, *args):
        if event == "message":
            self.emit("message-back", *args)
        elif event == "message-with-ack":
            return args


class Envelopes(Noting):
    """For clients of ``django-ws.v1``: does what messages say."""

    def authenticate(self):
        name = self.request.GET.get("user")
        return SimpleNamespace(pk=name, is_authenticated=True) if name else None

    def on_connect(self):
        super().on_connect()
        for group in self.request.GET.getlist("group"):
            self.join(group)
        if self.request.GET.get("refuse"):
            raise Reject(int(self.request.GET["refuse"]), "not you")

    def on_resume(self):
        note("resume", self.who, self.request.GET.get("again", ""))
        answer = self.request.GET.get("again", "")
        if answer == "raise":
            raise RuntimeError("no way back")
        if answer.isdecimal():
            raise Reject(int(answer), "not again")
        if answer == "say":
            self.send("welcome back")
        return {"false": False}.get(answer)

    def on_message(self, message):
        if isinstance(message, bytes):
            self.send(message)
            return
        note("message", self.who, message)
        command, _, rest = message.partition(" ")
        if command == "join":
            self.join(rest)
        elif command == "leave":
            self.leave(rest)
        elif command == "publish":
            group, _, text = rest.partition(" ")
            self.publish(group, text)
        elif command == "close":
            self.close(int(rest))
        elif command == "nap":
            time.sleep(float(rest))
        elif command == "flood":
            for number in range(int(rest)):
                self.send(f"{number:06} " + "x" * 1000)
        else:
            self.send(message)

    def on_request(self, message):
        note("request", self.who, repr(message))
        if message == "fail":
            raise ValueError("oh")
        if message == "auth":
            return self.auth
        if message == "mixed":
            return [b"bytes"]
        if isinstance(message, dict) and "nap" in message:
            time.sleep(message["nap"])
        return message

    def on_event(self, event, *args):
        note("event", self.who, event)
        self.emit("heard", event, len(args))
        return args


class Lasting(Envelopes):
    """For clients of Socket.IO that have their sessions back."""

    def on_event(self, event, *args):
        match event, args:
            case "auth", ():
                return self.auth
            case "pid", ():
                return os.getpid()
            case "flood", (count, seconds):
                time.sleep(seconds)
                for number in range(count):
                    self.emit("flood", number, b"x" * 1000)
            case _:
                return super().on_event(event, *args)


class Guest:
    """Somebody who is known by name alone."""

    is_active = True

    def __init__(self, name):
        self.pk = self.name = name
        self.is_authenticated = bool(name)
        self.is_anonymous = not name

    def get_username(self):
        return self.name


@login_required
class Members(WebSocketHandler):
    """For those whose first request has brought a cookie."""

    def authenticate(self):
        return Guest(self.request.COOKIES.get("guest", ""))

    def on_event(self, event, *args):
        return self.user.get_username()


class Lounge(Noting):
    """Rooms and acknowledgements, for the clients of Socket.IO."""

    def on_event(self, event, *args):
        match event, args:
            case "join", (room,):
                self.join(room)
                return "joined", room
            case "leave", (room,):
                self.leave(room)
                return "left"
            case "say", (room, value):
                self.publish(room, value, event="said")
            case "twice", (bytes(data),):
                return {"data": data, "more": [data]}
            case "fail", ():
                raise ValueError("as the test wants it")
            case "pid", ():
                return os.getpid()
            case "nap", (seconds,):
                note("nap", self.who)
                time.sleep(seconds)
                return "rested"
            case "auth", ():
                return self.auth
            case _:
                return super().on_event(event, *args)

    def on_message(self, message):
        self.send(message)
