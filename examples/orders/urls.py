from django.urls import path

from .views import OrdersPage

app_name = "orders"
urlpatterns = [
    path("orders/", OrdersPage.as_view(group="orders"), name="list"),
    path("orders/htmx/", OrdersPage.as_view(group="orders_html"), name="htmx"),
]
