"""How a project tests its handlers: with Django's own test runner."""

import os
from unittest import mock

from django.core import signing
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import reverse
from django_ws.testing import WebSocketClient

from .models import Visitor


class HandlerTests(SimpleTestCase):
    def test_block_answers_after_a_second(self):
        with WebSocketClient("/socket/block") as client, mock.patch("time.sleep") as sleep:
            client.connect()
            client.send("go")
            self.assertEqual(client.receive(), "go")
        sleep.assert_called_once_with(1)

    def test_counter_is_the_default_handler(self):
        with WebSocketClient("/socket") as client:
            client.connect()
            for _ in range(100):
                client.send("next")
                self.assertIn(int(client.receive()), range(1, 101))

    def test_echo_returns_text_and_bytes_even_empty_ones(self):
        with WebSocketClient("/socket/echo") as client:
            client.connect()
            for message in ("text", b"bytes", "", b""):
                client.send(message)
                self.assertEqual(client.receive(), message)

    def test_status_signs_the_process_that_answers(self):
        with WebSocketClient("/socket/status") as client:
            client.connect()
            client.send_json(7)
            answer = client.receive_json()
        self.assertEqual((answer["number"], answer["pid"]), (7, os.getpid()))
        self.assertEqual(signing.loads(answer["token"], salt="worker"), os.getpid())

    def test_edit_says_something(self):
        with WebSocketClient("/socket/edit") as client:
            client.connect()
            client.send("What do you say?")
            self.assertTrue(client.receive())


class VisitorsTests(TestCase):
    def visit(self):
        client = WebSocketClient("/socket/visitors")
        client.connect()
        client.send("here")
        return client

    def test_counts_who_is_there(self):
        first = self.visit()
        self.assertEqual(first.receive(), "1")
        second = self.visit()
        self.assertEqual(second.receive(), "2")
        first.close()
        self.assertEqual(self.visit().receive(), "2")

    def test_leaves_no_row_behind(self):
        self.visit().close(code=1006)
        self.assertFalse(Visitor.objects.exists())

    def test_says_only_what_changed(self):
        client = self.visit()
        self.assertEqual(client.receive(), "1")
        self.assertTrue(client.receive_nothing())

    def test_goes_on_in_another_worker(self):
        client = self.visit()
        client.receive()
        Visitor.objects.create(connection="another")
        client.handler.on_restore()
        self.assertEqual(client.receive(), "2")

    def test_does_not_count_before_the_first_message(self):
        client = WebSocketClient("/socket/visitors")
        client.connect()
        client.handler.on_restore()
        self.assertTrue(client.receive_nothing())


class PageTests(SimpleTestCase):
    def test_every_page_shows_its_handler(self):
        for page in ("front", "counter", "echo", "visitors"):
            with self.subTest(page):
                response = self.client.get(reverse(f"showcase:{page}"))
                self.assertContains(response, "WebSocketHandler")


@override_settings(DEBUG=True)
@mock.patch.dict(os.environ, {"DJANGO_WS_ROLE": "wsgi"})
@mock.patch("os.kill")
class BreakTests(SimpleTestCase):
    def post(self, page, token="", **headers):
        token = token or signing.dumps(4711, salt="worker")
        return self.client.post(reverse(f"showcase:{page}"), {"token": token}, headers=headers)

    def assert_refused(self, *args, **headers):
        with self.assertLogs("django.request", "WARNING"):
            self.assertEqual(self.post(*args, **headers).status_code, 403)

    def test_a_developer_may(self, kill):
        self.assertEqual(self.post("restart").status_code, 204)
        self.assertEqual(kill.call_args.args[0], os.getppid())
        self.assertEqual(self.post("kill").status_code, 204)
        self.assertEqual(kill.call_args.args[0], 4711)

    def test_nobody_may_in_production(self, kill):
        with override_settings(DEBUG=False):
            self.assert_refused("restart")
        kill.assert_not_called()

    def test_nobody_may_from_elsewhere(self, kill):
        self.assert_refused("restart", x_forwarded_for="192.0.2.1")
        self.assert_refused("kill", x_forwarded_for="127.0.0.1, x")
        kill.assert_not_called()

    def test_nobody_may_under_another_server(self, kill):
        with mock.patch.dict(os.environ, {"DJANGO_WS_ROLE": ""}):
            self.assert_refused("restart")
        kill.assert_not_called()

    def test_only_workers_are_killed(self, kill):
        self.assert_refused("kill", "4711")
        kill.assert_not_called()
