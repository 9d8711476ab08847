"""``capture_publications`` in the kinds of tests that Django has."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.db import transaction
from django.test import TestCase, TransactionTestCase

from django_ws import apublish, disconnect, history, position, presence, publish, publish_to_user
from django_ws.testing import CapturedPublications, capture_publications


def data(published: CapturedPublications) -> list[object]:
    return [each.data for each in published]


class InATestCase(TestCase):
    def test_what_is_published_counts_at_once(self) -> None:
        with capture_publications() as published:
            publish("room", {"a": 1}, event="e")
            assert len(published) == 1
            assert published[0].group == "room"
            assert (published[0].data, published[0].event) == ({"a": 1}, "e")

    def test_an_atomic_block_counts_when_it_ends(self) -> None:
        with capture_publications() as published:
            with transaction.atomic():
                publish("room", "inside")
                assert data(published) == []
            publish("room", "after")
            assert data(published) == ["inside", "after"]

    def test_a_rolled_back_block_does_not(self) -> None:
        with capture_publications() as published:
            with transaction.atomic():
                publish("room", "no")
                transaction.set_rollback(True)
            publish("room", "yes")
        assert data(published) == ["yes"]

    def test_with_captured_callbacks_each_counts_once(self) -> None:
        with capture_publications() as published:
            with self.captureOnCommitCallbacks(execute=True) as callbacks, transaction.atomic():
                publish("room", "x")
            assert len(callbacks) == 1
            assert data(published) == ["x"]

    def test_captured_callbacks_keep_the_order_of_the_calls(self) -> None:
        with capture_publications() as published:
            publish("room", "one")
            with self.captureOnCommitCallbacks(execute=True):
                publish("room", "two")
                publish("room", "three")
            publish("room", "four")
            assert data(published) == ["one", "two", "three", "four"]

    async def test_async_code_publishes_in_the_transaction_of_another_thread(self) -> None:
        await apublish("room", "before")
        with capture_publications() as published:
            await apublish("room", "one")
            assert data(published) == ["one"]
            await sync_to_async(self._publish_atomically)()
        assert data(published) == ["one", "two"]

    def _publish_atomically(self) -> None:
        with transaction.atomic():
            publish("room", "two")
        with transaction.atomic():
            publish("room", "no")
            transaction.set_rollback(True)

    def test_what_was_published_before_does_not_count(self) -> None:
        publish("room", "before")
        with capture_publications() as published:
            publish("room", "x")
        assert data(published) == ["x"]

    def test_clear(self) -> None:
        with capture_publications() as published:
            publish("room", "x")
            published.clear()
            publish("room", "y")
        assert data(published) == ["y"]


class WithoutTransaction(TransactionTestCase):
    databases = {"default"}

    def test_publications_leave_on_commit(self) -> None:
        with capture_publications() as published:
            publish("room", "at once")
            with transaction.atomic():
                publish("room", "on commit")
                assert data(published) == ["at once"]
        assert data(published) == ["at once", "on commit"]

    def test_questions_are_answered(self) -> None:
        with capture_publications() as published:
            found = publish("room", "x", wait=True)
            assert (found and found.data) == "x"
            publish_to_user(7, "y")
            assert history("room").publications == []
            assert position("room").offset == 0
            assert presence("room") == []
            assert disconnect(user=7) == 0
        assert [(each.group, each.user) for each in published] == [("room", ""), ("", "7")]
