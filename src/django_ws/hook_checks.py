"""Methods of a handler class that nothing calls, or that cannot be called as they are."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator

from . import conf
from .base import WebSocketHandler

__all__ = ["hook_problems"]

#: How many arguments each hook is called with; `on_event` has its event's beside the name.
_ARGUMENTS = {
    "authenticate": (0,),
    "on_connect": (0,),
    "on_open": (1,),
    "on_message": (1,),
    "on_close": (0,),
    "on_error": (1,),
    "on_restore": (0,),
    "on_resume": (0,),
    "on_request": (1,),
    "on_event": (1, 2, 3, 4),
    "on_user_changed": (0,),
    "dispatch": (1, 2),
}

_SIGNATURES = {
    "on_open": "(self, message)",
    "on_message": "(self, message)",
    "on_error": "(self, exception)",
    "on_request": "(self, message)",
    "on_event": "(self, event, *args)",
    "dispatch": "(self, hook, *args)",
}

#: Names that others use for the same thing, where likeness would point elsewhere.
_ALIASES = {
    "on_disconnect": "on_close",
    "on_closed": "on_close",
    "on_receive": "on_message",
    "on_data": "on_message",
    "on_text": "on_message",
    "on_exception": "on_error",
    "on_accept": "on_connect",
}

#: Hooks of consumers of Django Channels, and what takes their place.
_CHANNELS = {
    "connect": "on_connect, which returns False to refuse",
    "accept": "on_connect: whatever it does not refuse is accepted",
    "receive": "on_message",
    "receive_json": "on_message of a JsonWebSocketHandler",
    "disconnect": "on_close; self.close_code has the code",
    "websocket_connect": "on_connect",
    "websocket_receive": "on_message",
    "websocket_disconnect": "on_close",
}


def hook_problems(label: str, handler: type[WebSocketHandler]) -> Iterator[conf.Problem]:
    """What is wrong with the methods of a handler class."""
    for hook in WebSocketHandler.hooks:
        if getattr(handler, hook) is not getattr(WebSocketHandler, hook):
            yield from _signature(label, handler, hook)
    yield from _uncalled(label, handler)


def _signature(label: str, handler: type[WebSocketHandler], hook: str) -> Iterator[conf.Problem]:
    try:
        signature = inspect.signature(getattr(object.__new__(handler), hook))
    except (TypeError, ValueError):
        return  # Python cannot tell
    if hook == "dispatch" and next(iter(signature.parameters), "") == "request":
        owner = next(each for each in handler.__mro__ if "dispatch" in vars(each))
        yield conf.Problem(
            "E027",
            f"{label}: {owner.__qualname__} overrides dispatch(request, …) of a view; here it is "
            "dispatch(hook, …).",
            "Mixins for views, such as LoginRequiredMixin, do not fit; refuse in on_connect.",
        )
        return
    counts = _ARGUMENTS[hook]
    fitting = [count for count in counts if _takes(signature, count)]
    if not fitting or (hook == "dispatch" and len(fitting) < len(counts)):
        yield conf.Problem(
            "E026",
            f"{label}: {hook}{signature} cannot be called as it would be.",
            f"Write def {hook}{_SIGNATURES.get(hook, '(self)')}.",
        )


def _takes(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


def _uncalled(label: str, handler: type[WebSocketHandler]) -> Iterator[conf.Problem]:
    known = [*WebSocketHandler.hooks, "on_user_changed"]
    names = {
        name
        for owner in handler.__mro__
        if owner.__module__.partition(".")[0] != "django_ws" and owner is not object
        for name, value in vars(owner).items()
        if callable(value)
    }
    for name in sorted(names.difference(dir(WebSocketHandler), known)):
        if name in _CHANNELS:
            yield conf.Problem(
                "W009",
                f"{label}: nothing calls {name}(), which is a hook of Django Channels.",
                f"Here that is {_CHANNELS[name]}. Give another method another name.",
            )
        elif (meant := _meant(name, known)) is not None:
            yield conf.Problem(
                "W007",
                f"{label}: nothing calls {name}(), which is no hook.",
                f"Did you mean {meant}()?",
            )


def _meant(name: str, known: list[str]) -> str | None:
    """The hook that a name is probably meant for."""
    if not name.lower().startswith("on"):
        return None
    if name in _ALIASES:
        return _ALIASES[name]
    plain = {hook.replace("_", ""): hook for hook in known if hook.startswith("on_")}
    close = difflib.get_close_matches(name.lower().replace("_", ""), plain, n=1, cutoff=0.8)
    return plain[close[0]] if close else None
