"""Handlers that know their user, and the pages that change it."""

import urls  # noqa: F401  the converter of another handler
from django.contrib.auth import get_user_model
from django.contrib.auth import urls as auth_urls
from django.contrib.auth.models import AnonymousUser
from django.urls import include, path
from journal import note

from django_ws import WebSocketHandler
from django_ws.auth import login_required, permission_required


@login_required
class Person(WebSocketHandler):
    """Tells who it is, and when that has changed."""

    def on_message(self, message):
        if message == "save":  # as any other code
            self.user.first_name = "by a handler"
            self.user.save()
        elif message == "wait":
            self.send("waiting")
            self.wait(30)
        else:
            self.send(f"{message} {self._told()}")

    def on_user_changed(self):
        self.state["changes"] = self.state.get("changes", 0) + 1
        self.send(f"{self.state['changes']} {self._told()}")

    def on_close(self):
        note("close", self.request.GET.get("who", ""), self.close_code)

    def _told(self):
        may = self.user.has_perm("auth.add_user")
        return f"{self.user.get_username()} {self.user.first_name} {may}"


@permission_required("auth.add_user")
class Staff(WebSocketHandler):
    def on_message(self, message):
        self.send(message)


class Token(Person):
    """Known by the query: ``?user=`` is one of the database, ``?claims=`` is none."""

    def authenticate(self):
        if "claims" in self.request.GET:
            return Claims(self.request.GET["claims"])
        return get_user_model().objects.filter(pk=self.request.GET.get("user") or 0).first()


class Claims(AnonymousUser):
    is_authenticated = True

    def __init__(self, pk):
        self.pk = pk
        self.first_name = "claims"


urlpatterns = [path("", include(auth_urls))]
