from django_ws.base import WebSocketHandler

from showcase.since import since


class Orders(WebSocketHandler):
    group = "orders"

    def on_connect(self):
        # What came after the page was rendered comes first.
        self.join(self.group, since(self.request))


class OrdersHtml(Orders):
    group = "orders_html"
