"""How a project tests a live model."""

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse
from django_ws.testing import WebSocketClient, capture_publications

from .models import Order


class OrderTests(TestCase):
    def setUp(self):
        self.published = self.enterContext(capture_publications())

    def told(self, group):
        return [each.data for each in self.published if each.group == group]

    def test_both_pages_hear_what_the_admin_saves(self):
        self.client.force_login(get_user_model().objects.get(username="ann"))
        data = {"table": 9, "dish": "Gnocchi <3", "status": "ordered"}
        response = self.client.post(reverse("admin:orders_order_add"), data)
        self.assertEqual(response.status_code, 302)
        order = Order.objects.latest("pk")
        name = "Table 9: Gnocchi <3"
        row = {"id": order.pk, "name": name, "status": "ordered"}
        self.assertEqual(self.told("orders"), [row])
        (html,) = self.told("orders_html")
        self.assertIn('hx-swap-oob="beforeend:#orders"', html)
        self.assertIn("Gnocchi &lt;3", html)

    def test_changes_replace_and_deletions_remove(self):
        order = Order.objects.first()
        order.status = Order.Status.READY
        order.save()
        item = f'<li id="order-{order.pk}" hx-swap-oob="true" data-status="ready">'
        self.assertTrue(self.told("orders_html")[0].startswith(item))
        self.assertEqual(self.told("orders")[0]["status"], "ready")
        key = order.pk
        order.delete()
        self.assertEqual(self.told("orders")[1], {"id": key, "deleted": True})
        self.assertEqual(
            self.told("orders_html")[1], f'<li id="order-{key}" hx-swap-oob="delete"></li>'
        )

    def test_pages_and_handlers_agree_on_the_group(self):
        for page, path in (("list", "/ws/orders/"), ("htmx", "/ws/orders/html/")):
            with self.subTest(page), WebSocketClient() as client:
                response = self.client.get(reverse(f"orders:{page}"))
                self.assertContains(response, "Pizza Margherita")
                self.assertContains(response, f"ws://testserver{path}")
                client.connect(f"{path}?offset=0&epoch=test")
                self.assertEqual(client.handler.groups, {response.context["view"].group})

    def test_nonsense_for_a_position_is_none(self):
        with WebSocketClient() as client:
            self.assertTrue(client.connect("/ws/orders/?offset=-1&epoch=x"))
