"""All child processes: starting them, waiting for their words, clearing up after them."""

from __future__ import annotations

import selectors
from collections.abc import Iterator

import msgspec

from ..transport.files import remove_leftovers, sweep
from .child import Child, Role, State
from .plan import Plan
from .signals import Signals
from .slots import Slot

__all__ = ["Children"]


class Children:
    """The processes of a plan that have not been buried yet."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._gateways = list(plan.gateways)
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        # What was killed together with its supervisor.
        sweep(plan.push_socket)

    def __iter__(self) -> Iterator[Child]:
        return iter(tuple(self._children))

    def start(self, slot: Slot, *, first: bool = False) -> Child:
        """Start a process for a slot.

        Args:
            first: it also says what is worth a warning in the project.

        Raises:
            OSError: There is no memory or no process left.
        """
        plan = self._plan
        match slot.role:
            case Role.GATEWAY:
                child = Child(slot.role, plan.gateway_command)
                config = self._gateways[slot.index]
                child.endpoint = config.sub_socket
                child.channel.send({"op": "config", "config": msgspec.to_builtins(config)})
            case Role.WSGI:
                listen = {
                    "DJANGO_WS_WSGI_FD": str(plan.wsgi_socket),
                    "DJANGO_WS_HOME": plan.home,
                }
                child = Child(slot.role, plan.wsgi_command, listen, (plan.wsgi_socket,))
            case Role.WORKER:
                variables = {
                    "DJANGO_WS_FIRST": "1" if first else "",
                    "DJANGO_WS_HOME": plan.home,
                }
                child = Child(slot.role, plan.worker_command, variables)
        self._children.append(child)
        self._selector.register(child.channel, selectors.EVENT_READ, child)
        return child

    def listens(self, port: int) -> None:
        """A gateway has the port. All others that start from now on must have the same, also if any
        would do, and share it with this one if there are several."""
        several = len(self._gateways) > 1
        self._gateways = [
            msgspec.structs.replace(config, port=port, sharing="more" if several else "alone")
            for config in self._gateways
        ]

    def wait(self, signals: Signals, timeout: float) -> list[Child]:
        """Wait for a signal or a word. Returns the children that have something to say."""
        if signals.fileno() not in self._selector.get_map():
            self._selector.register(signals, selectors.EVENT_READ)
        for child in self._children:
            self._watch(child)
        heard = []
        for key, events in self._selector.select(max(0.0, timeout)):
            if not isinstance(key.data, Child):
                continue
            if events & selectors.EVENT_WRITE:
                key.data.channel.flush()
            if events & selectors.EVENT_READ:
                heard.append(key.data)
        return heard

    def _watch(self, child: Child) -> None:
        """Also wait for a channel to take more while something waits to be sent."""
        channel = child.channel
        if channel.fileno() < 0:
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)
        if self._selector.get_key(channel).events != events:
            self._selector.modify(channel, events, child)

    def hear(self, child: Child) -> list[dict[str, object]]:
        """What a child has said."""
        try:
            return child.channel.receive()
        except EOFError:
            self._hang_up(child)  # it exits, or has nothing more to say
            return []

    def bury(self, child: Child, *, clean: bool) -> None:
        """Forget a process that has ended.

        Args:
            clean: it ended by itself, so it left no files.
        """
        child.become(State.GONE)
        self._hang_up(child)
        self._children.remove(child)
        if not clean:
            self._remove_files(child)

    def close(self) -> None:
        """Kill and bury whatever there still is."""
        for child in self:
            child.kill()
        for child in self:
            child.wait()
            self.bury(child, clean=False)
        self._selector.close()

    def _hang_up(self, child: Child) -> None:
        if child.channel.fileno() >= 0:
            self._selector.unregister(child.channel)
            child.channel.close()

    def _remove_files(self, child: Child) -> None:
        if child.role is Role.WORKER:
            push = self._plan.push_socket
            for endpoint in {push, f"{push}.{child.incarnation}", child.endpoint}:
                remove_leftovers(endpoint)
        elif child.role is Role.GATEWAY:
            remove_leftovers(child.endpoint)
