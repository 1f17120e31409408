"""Cancel messages (S8): one usable ID, or a classified error; and those that are for calls that wait only."""

import pytest

from sidecar.cancellation import MAX_CANCEL_BYTES, CancelMessage, MovedDispatches, decode_cancel
from sidecar.messages import MalformedMessageError
from sidecar.stored import ATTEMPT_HEADER, ONCE_HEADER
from tests.sidecar.rig import Gate, answer_ok, dispatch, running


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
        b'{"invocationID":"inv-1","moved":-1}',
        b'{"invocationID":"inv-1","moved":true}',
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


def test_s13_which_dispatches_were_moved_is_said() -> None:
    assert decode_cancel(b'{"invocationID":"inv-1","moved":2}') == CancelMessage(invocation_id="inv-1", moved=2)


def test_s13_the_newest_moved_dispatches_are_remembered() -> None:
    moved = MovedDispatches(most=2)
    for invocation_id, number in (("a", 1), ("b", 2), ("b", 1), ("c", 1)):
        moved.add(invocation_id, number)
    found = [moved.includes(*each) for each in (("a", 1), ("b", 2), ("b", 3), ("c", 1), ("c", 2), ("d", 1))]
    assert found == [False, True, False, True, False, False]


@pytest.mark.parametrize("headers", [{}, {ONCE_HEADER: "1"}])
async def test_s13_a_moved_dispatch_that_is_delivered_again_is_dropped_without_a_word(headers: dict[str, str]) -> None:
    """Its invocation is another worker's, or has its result; moved back here, it is run."""
    async with running(answer_ok) as rig:
        rig.invocations.cancel("a", moved=1)
        assert await rig.ended(rig.put(dispatch("a"), attempt=2, extra_headers=headers)) == ["ack"]
        assert [kind for kind in rig.kinds() if kind != "end"] == []
        assert await rig.ended(rig.put(dispatch("a"), extra_headers={**headers, ATTEMPT_HEADER: "2"})) == ["ack"]
    assert rig.framework.calls == ["a"]
    assert [result["state"] for result in rig.of("result")] == ["succeeded"]


async def test_s13_a_call_that_runs_is_not_dropped() -> None:
    gate = Gate()
    async with running(gate) as rig:
        delivery = rig.put(dispatch("a"))
        await gate.began.get()
        rig.invocations.cancel("a", moved=1)
        gate.open.set()
        assert await rig.ended(delivery) == ["ack"]
    assert gate.cancelled == []
    assert [result["state"] for result in rig.of("result")] == ["succeeded"]
