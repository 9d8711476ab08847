"""Handlers that the tests use."""

from __future__ import annotations

from typing import Any

from django_ws.base import JsonWebSocketHandler, WebSocketHandler


class Echo(WebSocketHandler):
    """Sends back what it gets."""

    def on_message(self, message: str | bytes) -> None:
        self.send(message)


class JsonEcho(JsonWebSocketHandler):
    """Sends back the object it gets."""

    def on_message(self, message: Any) -> None:
        self.send_json(message)


class WhoAmI(WebSocketHandler):
    """Tells the user's name; refuses those who are not logged in."""

    def on_connect(self) -> bool:
        return self.user.is_authenticated

    def on_message(self, message: str | bytes) -> None:
        self.send(self.user.get_username())


class Ticker(WebSocketHandler):
    """Loops as users' handlers do; goes on after a change of worker."""

    def on_open(self, message: str | bytes) -> bool:
        self.tick()
        return True

    def on_restore(self) -> None:
        self.tick()

    def tick(self) -> None:
        """Send numbers until the connection closes or the worker stops."""
        while True:
            number = self.state["number"] = self.state.get("number", 0) + 1
            self.send(str(number))
            if self.wait(0.05):
                return
