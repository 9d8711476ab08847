"""The same list twice: kept up by plain JavaScript, and by HTMX."""

from pathlib import Path
from typing import Any

from django_ws import position

from showcase.views import SourcePage

from .models import Order


class OrdersPage(SourcePage):
    source = Path(__file__).parent / "models.py"
    group = ""

    def get_template_names(self) -> list[str]:
        return [f"orders/{self.group}.html"]

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        # Asked before the query: what changes from now on, the socket brings.
        since = position(self.group)
        return super().get_context_data(since=since, orders=list(Order.objects.all()), **kwargs)
