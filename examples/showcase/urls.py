from django.urls import path

from . import views

app_name = "showcase"
urlpatterns = [
    path("", views.FrontPage.as_view(), name="front"),
    path("counter/", views.HandlerPage.as_view(handler="counter"), name="counter"),
    path("echo/", views.HandlerPage.as_view(handler="echo"), name="echo"),
    path("visitors/", views.HandlerPage.as_view(handler="visitors"), name="visitors"),
    path("socketio/", views.HandlerPage.as_view(handler="board"), name="board"),
    path("restart/", views.restart, name="restart"),
    path("kill/", views.kill, name="kill"),
]
