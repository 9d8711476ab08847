"""Batches to bytes and back; per batch of 50."""

from django_ws.wire.codec import decode_events, decode_replies, encode


def bench_encode_events(benchmark, events):
    benchmark(encode, events)


def bench_decode_events(benchmark, events):
    benchmark(decode_events, encode(events))


def bench_encode_replies(benchmark, replies):
    benchmark(encode, replies)


def bench_decode_replies(benchmark, replies):
    benchmark(decode_replies, encode(replies))
