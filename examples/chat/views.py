"""The rooms as pages: what was said so far, and from where on the socket tells the rest."""

from pathlib import Path
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import slugify
from django_ws import position

from showcase.views import SourcePage

from .models import Message
from .people import name_guest, name_of

SHOWN = 50


def rooms(request: HttpRequest) -> HttpResponse:
    """Which rooms there are; ``?room=`` leads to one, new or not."""
    if room := slugify(request.GET.get("room", "")):
        return redirect("chat:room", room)
    groups = Message.objects.filter(group__startswith="chat-").values_list("group", flat=True)
    names = {"lobby", *(group.removeprefix("chat-") for group in groups.distinct())}
    return render(request, "chat/rooms.html", {"rooms": sorted(names)})


class ChatPage(SourcePage):
    """What the pages of all rooms have."""

    template_name = "chat/room.html"
    source = Path(__file__).parent / "ws_handlers.py"

    def get_context_data(self, group: str, **kwargs: Any) -> dict[str, Any]:
        session = self.request.session
        name_guest(session)
        # Asked before the query: what is said from now on, the socket brings.
        since = position(group)
        newest = Message.objects.filter(group=group).order_by("-pk")[:SHOWN]
        return super().get_context_data(
            me=name_of(self.request.user, session),
            since=(group, since),
            messages=list(newest)[::-1],
            **kwargs,
        )


class RoomPage(ChatPage):
    """A room that is open for everybody."""

    def get_context_data(self, room: str, **kwargs: Any) -> dict[str, Any]:
        return super().get_context_data(group=f"chat-{room}", room=room, **kwargs)


class MembersPage(ChatPage):
    """A room for those who are logged in. Others get the page, whose socket is told why not."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        group = "members" if self.request.user.is_authenticated else "nobody"
        return super().get_context_data(group=group, **kwargs)
