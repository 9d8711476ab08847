"""The pages, and the two buttons that break things."""

import os
import signal
from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core import signing
from django.http import HttpRequest, HttpResponse, HttpResponseForbidden
from django.views.decorators.http import require_POST
from django.views.generic import TemplateView

HANDLERS = Path(__file__).parent / "ws_handlers"

View = Callable[[HttpRequest], HttpResponse]


class SourcePage(TemplateView):
    """A page with the source of what it shows."""

    source: Path

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            ws_port=settings.DEMO_WS_PORT,
            source=self.source.read_text(),
            source_path=self.source.relative_to(settings.BASE_DIR.parent),
            **kwargs,
        )


class HandlerPage(SourcePage):
    """A page that talks to one of this app's handlers."""

    handler = ""

    def get_template_names(self) -> list[str]:
        return [f"showcase/{self.handler}.html"]

    @property
    def source(self) -> Path:
        return HANDLERS / f"{self.handler}.py"


class FrontPage(HandlerPage):
    """Block, Break and Edit, and where the other pages are."""

    handler = "block"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(
            sockets=range(1, 21),
            edit_path=(HANDLERS / "edit.py").relative_to(settings.BASE_DIR.parent),
            **kwargs,
        )


def is_loopback(request: HttpRequest) -> bool:
    """Whether the request came from this machine, also through the gateway."""
    forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
    addresses = [request.META["REMOTE_ADDR"], *filter(None, forwarded.split(","))]
    try:
        return all(ip_address(address.strip()).is_loopback for address in addresses)
    except ValueError:
        return False


def breaks_things(view: View) -> View:
    """Refuse what does not come from a developer at this machine, in front of run_wsserver."""

    @wraps(view)
    def guarded(request: HttpRequest) -> HttpResponse:
        if not (settings.DEBUG and is_loopback(request)):
            return HttpResponseForbidden("Only under DEBUG and from this machine.")
        if os.environ.get("DJANGO_WS_ROLE") != "wsgi":
            return HttpResponseForbidden("Only with run_wsserver --wsgi.")
        return view(request)

    return require_POST(guarded)


@breaks_things
def restart(request: HttpRequest) -> HttpResponse:
    """Replace the workers, as a deploy does: SIGHUP to the supervisor, which is our parent."""
    os.kill(os.getppid(), signal.SIGHUP)
    return HttpResponse(status=204)


@breaks_things
def kill(request: HttpRequest) -> HttpResponse:
    """Kill the worker that signed ``token`` within the last ten seconds."""
    try:
        pid = signing.loads(request.POST.get("token", ""), salt="worker", max_age=10)
    except signing.BadSignature:
        return HttpResponseForbidden("That is no worker's token.")
    os.kill(pid, signal.SIGKILL)
    return HttpResponse(status=204)
