"""Kinds of clients: each turns bytes into messages for a session, and messages into bytes."""
