"""Where a page begins: everything before that is in its HTML."""

from django.http import HttpRequest
from django_ws import Position


def since(request: HttpRequest) -> Position | None:
    """The position of ``?offset=12&epoch=…``."""
    offset = request.GET.get("offset", "")
    # Eighteen digits are 64 bits.
    if offset.isdecimal() and len(offset) <= 18:
        return Position(int(offset), request.GET.get("epoch", ""))
    return None
