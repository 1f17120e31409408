"""Cancel messages (S8): one usable ID, or a classified error; and those that are for calls that wait only."""

import pytest

from sidecar.cancellation import MAX_CANCEL_BYTES, CancelMessage, decode_cancel
from sidecar.messages import MalformedMessageError
from tests.sidecar.rig import Gate, dispatch, running


@pytest.mark.parametrize(
    ("data", "if_not_started"),
    [
        (b'{"invocationID":"inv-1"}', False),
        (b' {"later":[1], "invocationID": "inv-1"} ', False),
        (b'{"invocationID":"inv-1","a":null}', False),
        (b'{"invocationID":"inv-1","ifNotStarted":false}', False),
        (b'{"invocationID":"inv-1","ifNotStarted":true}', True),
    ],
)
def test_the_invocation_is_named(data: bytes, if_not_started: bool) -> None:
    assert decode_cancel(data) == CancelMessage(invocation_id="inv-1", if_not_started=if_not_started)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"inv-1",
        b'"inv-1"',
        b"{}",
        b"[]",
        b'{"invocationID":null}',
        b'{"invocationID":7}',
        b'{"invocationID":""}',
        b'{"invocationID":"a b"}',
        b'{"invocationID":"a\\u0000"}',
        b'{"invocationID":"inv-1","ifNotStarted":1}',
        b'{"invocationID":"inv-1","ifNotStarted":"true"}',
        b'{"invocationID":"\xff"}',
        b'{"invocationID":"' + b"x" * 257 + b'"}',
        b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'{"invocationID":"inv-1"}' + b" " * MAX_CANCEL_BYTES,
    ],
)
def test_anything_else_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        decode_cancel(data)


async def test_s8_only_if_not_started_lets_a_running_call_go_on() -> None:
    """The same message without it then ends the call: nothing was remembered against either."""
    gate = Gate()
    async with running(gate) as rig:
        goes_on = rig.put(dispatch("a"))
        await gate.began.get()
        rig.invocations.cancel("a", if_not_started=True)
        gate.open.set()
        assert await rig.ended(goes_on) == ["ack"]
        gate.open.clear()
        ends = rig.put(dispatch("b"))
        await gate.began.get()
        rig.invocations.cancel("b", if_not_started=True)
        rig.invocations.cancel("b")
        assert await rig.ended(ends) == ["ack"]
    assert gate.cancelled == ["b"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [("a", None), ("b", "cancelled")]


async def test_s8_only_if_not_started_keeps_a_call_from_starting() -> None:
    """The one that was fetched ahead, and the one that arrives later."""
    gate = Gate()
    async with running(gate) as rig:
        deliveries = [rig.put(dispatch("runs")), rig.put(dispatch("waits"))]
        await gate.began.get()
        for name in ("waits", "arrives"):
            rig.invocations.cancel(name, if_not_started=True)
        deliveries.append(rig.put(dispatch("arrives")))
        gate.open.set()
        assert await rig.ended(*deliveries) == ["ack"] * 3
    assert rig.framework.calls == ["runs"]
    assert [(r["invocationID"], r.get("failureClass")) for r in rig.of("result")] == [
        ("runs", None),
        ("waits", "cancelled"),
        ("arrives", "cancelled"),
    ]
