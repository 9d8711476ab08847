"""Bytes that releases with version 1 of the wire said, and the rules by which they read.

Made once by the encoder of the last such release; that they are still understood is the promise of
``docs/protocol.md``.
"""

from __future__ import annotations

from typing import Any

import msgspec

#: Incarnations of the worker and of the gateway that said all this.
WORKER, GATEWAY = "a1b2c3d4e5f60718", "0f1e2d3c4b5a6978"

#: Types of the fields that version 1 knew, by tag; more at the end are ignored.
EVENTS: dict[int, list[type]] = {
    1: [str, int, int, int],
    2: [int, int, str, bytes],
    3: [int, int, int, bytes],
    4: [int, int, int, str],
    5: [int, int],
    6: [int],
    7: [int, int, str, bytes, str, list, list, int, bool],
}
REPLIES: dict[int, list[type]] = {
    1: [str, int, int, float, dict, dict],
    2: [bool],
    3: [int, str, str],
    4: [int, int, str],
    5: [int, int, bytes],
    6: [int, int, str],
    7: [int, str],
    8: [int, str],
    9: [str, int, bytes, int],
    10: [int, list],
    11: [],
    12: [int, list],
}


def read(data: bytes, known: dict[int, list[type]]) -> list[list[Any]]:
    """What a reader of version 1 makes of a batch: its messages, each with its tag."""
    version, project, sender, receiver, number, received, messages, *rest = msgspec.msgpack.decode(
        data, strict=True
    )
    assert version == 1
    assert [type(each) for each in (project, sender, receiver)] == [str] * 3
    assert [type(each) for each in (number, received)] == [int] * 2
    assert not rest or all(type(each) is int for pair in rest[0].items() for each in pair)
    for tag, *fields in messages:
        types = known[tag]
        assert len(fields) >= len(types), (tag, fields)
        pairs = zip(fields, types, strict=False)
        assert all(isinstance(field, kind) for field, kind in pairs), (tag, fields)
    return messages


def acks(data: bytes) -> dict[int, int]:
    """The acknowledgements of a batch."""
    rest: list[Any] = msgspec.msgpack.decode(data)[7:]
    return rest[0] if rest else {}


# ---------------------------------------------------------------- a worker, to a gateway

#: Hello: namespace "default" redelivers.
HELLO = bytes.fromhex(
    "9801a170b061316232633364346535663630373138a00000919701b26970633a2f2f2f72756e2f77"
    "735f7075736803cd1267cb408f44000000000081a764656661756c7493a9726564656c6976657205"
    "cb400400000000000081a54445425547a2616280"
)
HEARTBEAT = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b0306631653264336334623561363937380001919202c380"
)
#: Connection 1: Accept, Send, Join of "g", SaveSnapshot; acknowledges 1.
ACCEPTED = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b0306631653264336334623561363937380102"
    "94940301a463686174a13794050101c4026869930701a167930a0193c40481a16e01a96261636b65"
    "6e640031c3810101"
)
#: GroupSend to "g", Leave, GroupSend, Close; acknowledges 2.
SAID = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b0306631653264336334623561363937380203"
    "949509a16701c403616c6c00930801a1679509a16701c4066e6f626f647900940601cd0fa0a6656e"
    "6f756768810102"
)
#: Refuse of connection 2, Accept of 3.
REFUSED = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b0306631653264336334623561363937380304"
    "92940402cd01a2a6746561706f74940303a0a08202010301"
)
RETIRING = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b030663165326433633462356136393738040491910b80"
)
#: Connection 3 is given back.
RELEASED = bytes.fromhex(
    "9801a170b061316232633364346535663630373138b0306631653264336334623561363937380505"
    "91930c0393c400a0c380"
)

# ---------------------------------------------------------------- a gateway, to a worker

WELCOME = bytes.fromhex(
    "9801a170b030663165326433633462356136393738b0613162326333643465356636303731380100"
    "919501b03066316532643363346235613639373800ce00100000ce0010000080"
)
#: Connection 1.
CONNECT = bytes.fromhex(
    "9801a170b030663165326433633462356136393738b0613162326333643465356636303731380200"
    "9195020101a764656661756c74c4369aa764656661756c7480a468747470a22f31a09092a9313237"
    "2e302e302e310192a93132372e302e302e310190cb000000000000000080"
)
#: Two messages of connection 1, and a Confirm.
MESSAGES = bytes.fromhex(
    "9801a170b030663165326433633462356136393738b0613162326333643465356636303731380300"
    "939503010201c40568656c6c6f9503010302c40200019305010a80"
)
DISCONNECT = bytes.fromhex(
    "9801a170b030663165326433633462356136393738b0613162326333643465356636303731380400"
    "9195040104cd03e9a362796580"
)
#: Connection 2 with a subprotocol and a group, and its Release; then Release(0).
RESTORE = bytes.fromhex(
    "9801a170b030663165326433633462356136393738b0613162326333643465356636303731380500"
    "939a070203a764656661756c74c4369aa764656661756c7480a468747470a22f31a09092a9313237"
    "2e302e302e310192a93132372e302e302e310190cb0000000000000000a46368617491a16793c400"
    "a0c305c292060292060080"
)
