"""What the gateway counts."""

from __future__ import annotations

from collections import Counter

__all__ = ["HELP", "Counters"]

#: Every counter with its meaning.
HELP = {
    "connections_opened": "WebSocket connections that were accepted",
    "connections_closed": "accepted connections that have ended",
    "refused_limit": "connections refused by a cap (503)",
    "refused_host": "requests for a host that is not allowed (400)",
    "refused_origin": "handshakes from an origin that is not allowed (403)",
    "refused_handshake": "requests that are no WebSocket handshake (400, 405, 426, 505)",
    "refused_headers": "requests whose headers were too long (431)",
    "refused_body": "requests with a body where none belongs, or without a clear end (400, 413)",
    "refused_url": "handshakes at a path that is no WebSocket's (404)",
    "refused_namespace": "handshakes for an unknown namespace (404)",
    "refused_saturated": "handshakes while no worker had room (503)",
    "refused_timeout": "handshakes that no worker answered in time (503)",
    "refused_stopping": "handshakes while the gateway was stopping (503)",
    "refused_handler": "handshakes that the handler refused",
    "refused_vanished": "handshakes whose client left before the answer",
    "accept_failures": "connections dropped for want of descriptors or memory",
    "closed_no_pong": "connections closed because the peer was dead (1006)",
    "closed_slow": "connections closed because the client did not read (3008)",
    "closed_too_big": "connections closed by a message over the limit (1009)",
    "closed_limit": "connections closed because their user had too many (3504)",
    "closed_protocol": "connections closed by a breach of the protocol (1002, 1007, 1008, 3501)",
    "sessions_parked": "times that a session lost its connection and waited for its client",
    "sessions_resumed": "times that a client came back to its session",
    "sessions_given_up": "parked sessions that were given up",
    "workers_lost": "workers that died or broke their link",
    "workers_in_doubt": "times that a worker fell silent",
    "worker_lost_closed": "connections closed because of a lost worker (1012)",
    "on_close_abandoned": "connections whose on_close no worker could run",
    "messages_unknown": "messages of newer workers and publishers that were skipped",
    "replies_undecodable": "batches from workers and publishers that could not be decoded",
    "replies_misplaced": "batches and messages that their sender has no business to send",
    "replies_failed": "messages from workers and publishers that failed here; see the log",
    "engine_away": "times that the engine went away",
    "engine_lost": "publications and the like that the engine did not take in time",
    "engine_healed": "publications that came late, from the history",
    "engine_gaps": "times that a group's history did not reach back to what was heard",
    "engine_missed": "times that publications of a group may be missing here for good",
    "engine_lost_data": "times that the engine had lost what it had last",
    "engine_overflow": "publications that came faster than members took them, and were dropped",
    "engine_unanswered": "disconnects and the like that some gateway did not answer in time",
    "throttled": "times that reading was delayed by the message rate",
    "log_records_dropped": "log records that the supervisor did not take in time",
    "window_full": "times that reading was delayed by unhandled messages",
}

Counters = Counter[str]
