"""How a project tests rooms: handlers, pages, and what is published."""

from django.contrib.auth import get_user_model
from django.test import TestCase
from django.urls import reverse
from django_ws.testing import WebSocketClient, capture_publications

from .models import Message


class ChatTestCase(TestCase):
    def setUp(self):
        # Nothing needs a gateway.
        self.published = self.enterContext(capture_publications())

    def user(self, name):
        return get_user_model().objects.get(username=name)  # a migration has made it


class HandlerTests(ChatTestCase):
    def enter(self, path="/ws/chat/lobby/", name=None):
        client = WebSocketClient(path)
        if name:
            client.force_login(self.user(name))
        client.connect()
        return client

    def test_what_is_said_is_kept_and_published(self):
        with self.enter(name="ann") as client:
            client.send_json({"text": " hello "})
        message = Message.objects.get()
        self.assertEqual((message.group, message.author), ("chat-lobby", "ann"))
        self.assertEqual(self.published[0].group, "chat-lobby")
        told = {"id": message.pk, "author": "ann", "text": "hello"}
        self.assertEqual(self.published[0].data, told)

    def test_what_is_deleted_is_told_too(self):
        Message.objects.create(group="chat-lobby", author="ann", text="oh").delete()
        self.assertTrue(self.published[-1].data["deleted"])

    def test_guests_have_a_name(self):
        with self.enter() as client:
            client.send_json({"text": "hello"})
            self.assertEqual(client.handler.info, {"name": "Guest"})
        self.assertEqual(Message.objects.get().author, "Guest")

    def test_writing_is_not_kept(self):
        with self.enter(name="bob") as client:
            self.assertEqual(client.receive_json(), {"event": "people", "args": [[], "bob"]})
            client.send_json({"writing": True})
            self.assertEqual(client.receive_json(), {"event": "writing", "args": ["bob"]})
        self.assertFalse(Message.objects.exists())

    def test_others_hear_it_and_see_who_comes_and_goes(self):
        with self.enter(name="ann") as ann:
            ann.receive()  # who is there
            with self.enter(name="bob") as bob:
                event, (who,) = ann.receive_event()
                self.assertEqual((event, who["info"]), ("join", {"name": "bob"}))
                bob.receive()
                ann.send_json({"text": "hello"})
                self.assertEqual(bob.receive_json()["text"], "hello")
                self.assertEqual(ann.receive_json()["text"], "hello")
            self.assertEqual(ann.receive_event().event, "leave")

    def test_strangers_are_no_members(self):
        self.assertEqual(self.enter("/ws/members/").close_code, 4401)
        self.assertTrue(self.enter("/ws/members/", "bob").accepted)


class PageTests(ChatTestCase):
    def test_a_room_shows_its_own_messages(self):
        Message.objects.create(group="chat-lobby", author="ann", text="<hello>")
        Message.objects.create(group="chat-other", author="ann", text="elsewhere")
        response = self.client.get(reverse("chat:room", args=["lobby"]))
        self.assertContains(response, "&lt;hello&gt;")
        self.assertNotContains(response, "elsewhere")
        self.assertContains(response, "ws://testserver/ws/chat/lobby/")

    def test_only_members_see_what_members_say(self):
        Message.objects.create(group="members", author="ann", text="hello")
        page = reverse("chat:members")
        self.assertNotContains(self.client.get(page), "hello")
        self.assertNotContains(self.client.get(reverse("chat:room", args=["members"])), "hello")
        self.client.force_login(self.user("bob"))
        self.assertContains(self.client.get(page), "hello")

    def test_rooms_are_found_by_any_name(self):
        response = self.client.get(reverse("chat:rooms"), {"room": "Green Room"})
        self.assertRedirects(response, reverse("chat:room", args=["green-room"]))

    def test_a_guest_keeps_a_name(self):
        names = {self.client.get(reverse("chat:room", args=[room])).context["me"] for room in "abc"}
        self.assertEqual(len(names), 1)
