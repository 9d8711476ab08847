"""``{% load django_ws %}``: what pages need in order to connect, and to miss nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

from django import template
from django.http import HttpRequest
from django.template.context import Context
from django.templatetags.static import static
from django.urls import NoReverseMatch
from django.utils.regex_helper import normalize
from django.utils.safestring import SafeString, mark_safe

from django_ws import conf, publishing, tickets
from django_ws.conf_problems import nearest
from django_ws.exceptions import PublishError
from django_ws.publications import Position
from django_ws.wire.identity import session_digest

__all__ = ["ws_client_url", "ws_position", "ws_ticket", "ws_url"]

#: Characters that could end a script element, as of ``django.utils.html.json_script``.
_ESCAPES = {ord(">"): "\\u003E", ord("<"): "\\u003C", ord("&"): "\\u0026"}

#: Stands for a position that nobody could tell: whoever connects from there hears that something
#: may be missing, and loads anew.
_UNKNOWN = Position(0, "unknown")

register = template.Library()


@register.simple_tag(takes_context=True)
def ws_url(context: Context, namespace: str = "default", **kwargs: object) -> str:
    """``{% ws_url "chat" room="x" %}``: where a page connects to.

    Builds on ``DJANGO_WS["PUBLIC_URL"]``, which is needed where gateway and pages have different
    hosts or ports; without it on the host of the page; without a request in the context it is a
    path. A ``--websocket-url`` must also be the setting ``WEBSOCKET_URL``, for this to know it.

    Args:
        namespace: key of ``DEFAULT_WS_HANDLERS``.
        kwargs: parameters of the namespace's URL, or the other named groups of ``WEBSOCKET_URL``.

    Raises:
        NoReverseMatch: There is no such namespace, or its URL does not take the arguments.
    """
    known = conf.handler_paths()
    if namespace not in known:
        raise NoReverseMatch(
            f"{{% ws_url %}}: DEFAULT_WS_HANDLERS has no {namespace!r}. {nearest(namespace, known)}"
        )
    return _base(context.get("request")) + _path(namespace, kwargs)


@register.simple_tag(takes_context=True)
def ws_ticket(context: Context, namespace: str = "", max_age: float = 60) -> str:
    """``?ticket={% ws_ticket "chat" %}``: lets the page connect once, as its user.

    For pages whose cookies do not reach the gateway. What it begins ends with the page's session.

    Args:
        namespace: the only one it is good for; empty for any.
        max_age: seconds for which it is valid.

    Returns:
        Nothing for somebody who is not logged in.

    Raises:
        TemplateSyntaxError: There is no request in the context.
    """
    request = context.get("request")
    if request is None:
        raise template.TemplateSyntaxError(
            "{% ws_ticket %} needs the request: render the template with render(request, …), and "
            "with django.template.context_processors.request among the context processors"
        )
    if not request.user.is_authenticated:
        return ""
    session = getattr(request, "session", None)
    digest = session_digest(session.session_key or "") if session is not None else ""
    return tickets.sign(request.user, max_age, namespace, digest)


@register.simple_tag
def ws_client_url() -> str:
    """``import { Socket } from "{% ws_client_url %}"``: where the browser's client is.

    A static file of this app, so the app is in ``INSTALLED_APPS``.
    """
    return static("django_ws/client.min.js")


@register.simple_tag
def ws_position(*places: object) -> SafeString:
    """``since: {% ws_position position %}``: from where on the page wants publications.

    Args:
        places: positions, which the view has asked for *before* it queried, or names of groups,
            whose position then is that of now: right only for pages that query afterwards. Lists
            of such count as their items. A position does not say of which group it is, so it is
            good for pages of one group; for several give names, or pairs of name and position.

    Returns:
        JSON for a script: an object; of several, a list. Where no gateway answers, a position from
        which on the page hears that something may be missing.
    """
    found = [_since(place) for place in _flat(places)]
    data = json.dumps(found[0] if len(found) == 1 else found)
    return mark_safe(data.translate(_ESCAPES))


def _flat(places: Iterable[object]) -> Iterable[object]:
    for place in places:
        if isinstance(place, (list, set)):
            yield from _flat(place)
        else:
            yield place


def _since(place: object) -> dict[str, object]:
    group = ""
    match place:
        case str():
            group, position = str(place), _position(str(place))
        case (str() as name, Position() as position):
            group = str(name)
        case Position() as position:
            pass
        case _:
            raise template.TemplateSyntaxError(
                f"{{% ws_position %}} takes positions and names of groups, not {place!r}"
            )
    since: dict[str, object] = {"offset": position.offset, "epoch": position.epoch}
    return {"group": group, **since} if group else since


def _position(group: str) -> Position:
    try:
        return publishing.position(group)
    except PublishError:
        return _UNKNOWN


def _base(request: HttpRequest | None) -> str:
    if public := conf.public_url():
        return re.sub("^http", "ws", public)
    if request is None:
        return ""
    return f"{'wss' if request.is_secure() else 'ws'}://{request.get_host()}"


def _path(namespace: str, kwargs: dict[str, object]) -> str:
    url = conf.namespace_url(namespace)
    if url is None:
        return _by_pattern(namespace, kwargs)
    try:
        path = url.path(kwargs)
    except ValueError as error:
        raise NoReverseMatch(f"{{% ws_url {namespace!r} %}}: {url.text!r} {error}") from None
    # PUBLIC_URL says by itself where everything of the gateway is.
    return path if conf.public_url() else conf.script_name() + path


def _by_pattern(namespace: str, kwargs: dict[str, object]) -> str:
    pattern = conf.websocket_url()
    values = {name: str(value) for name, value in kwargs.items()}
    wanted = {**values, "namespace": namespace}
    choices = normalize(pattern)
    # The default namespace may go without saying.
    for names in (values, wanted) if namespace == "default" else (wanted,):
        for form, parameters in choices:
            if set(parameters) == set(names) and re.fullmatch(pattern, form % names):
                return str(form % {name: quote(value, safe="") for name, value in names.items()})
    groups = [name for name in re.compile(pattern).groupindex if name != "namespace"]
    raise NoReverseMatch(
        f"{{% ws_url {namespace!r} %}}: WEBSOCKET_URL {pattern} has no URL for {values}; "
        f"its arguments are {', '.join(groups) or 'none'}"
    )
