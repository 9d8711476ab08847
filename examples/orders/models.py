from django.db import models
from django.template.loader import render_to_string
from django.utils.html import format_html
from django_ws.live import CREATED, DELETED, UPDATED, live


@live("orders_html", method="live_html")
@live("orders")
class Order(models.Model):
    """What a table has ordered."""

    class Status(models.TextChoices):
        ORDERED = "ordered"
        COOKING = "cooking"
        READY = "ready"

    table = models.PositiveSmallIntegerField()
    dish = models.CharField(max_length=60)
    status = models.CharField(max_length=10, choices=Status, default=Status.ORDERED)

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return f"Table {self.table}: {self.dish}"

    def live_message(self, change):
        """For the page with plain JavaScript."""
        if change == DELETED:
            return {"id": self.pk, "deleted": True}
        return {"id": self.pk, "name": str(self), "status": self.status}

    def live_html(self, change):
        """For the page with HTMX, which looks at the id."""
        if change == DELETED:
            return format_html('<li id="order-{}" hx-swap-oob="delete"></li>', self.pk)
        context = {"order": self, "replaces": change == UPDATED}
        item = render_to_string("orders/order.html", context)
        if change == CREATED:
            return format_html('<ol hx-swap-oob="beforeend:#orders">{}</ol>', item)
        return item
