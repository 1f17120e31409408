"""A delivery's numbers and headers, as they come in the server's frames."""

from collections.abc import Mapping
from typing import cast

import pytest

from sidecar.deliveries import Delivery
from sidecar.nats_client import LeanClient
from sidecar.requests import Requests

TIME = "1763838000500000000"
CLIENT, REQUESTS = cast("LeanClient", None), cast("Requests", None)


def delivery(headers: bytes = b"", reply: str = f"$JS.ACK.S.c.1.2.3.{TIME}.0") -> Delivery:
    return Delivery(CLIENT, REQUESTS, b"a.b", reply.encode(), b"body", headers)


@pytest.mark.parametrize(
    "reply",
    [
        f"$JS.ACK.S.c.4.17.9.{TIME}.0",
        f"$JS.ACK.domain.account.S.c.4.17.9.{TIME}.0",
        f"$JS.ACK.domain.account.S.c.4.17.9.{TIME}.0.random",
    ],
)
def test_its_numbers_are_read_from_the_reply_subject(reply: str) -> None:
    found = delivery(reply=reply)
    assert (found.attempt, found.sequence, found.consumer_sequence) == (4, 17, 9)
    assert (found.subject, found.data, found.stored_at) == ("a.b", b"body", 1763838000.5)


@pytest.mark.parametrize(
    ("lines", "message_id", "extra"),
    [
        ([], "", {}),
        (["Nats-Msg-Id: a b"], "a b", {}),
        (["Nats-Msg-Id: a", "Nats-Msg-Size: 12"], "a", {}),
        (["Nats-Msg-Size: 12"], "", {}),
        (["Nats-Msg-Id: a", "Serverless-Attempt: 2"], "a", {"Nats-Msg-Id": "a", "Serverless-Attempt": "2"}),
        (["Nats-Msg-Id: a", "x: y", "Nats-Msg-Size: 12"], "a", {"Nats-Msg-Id": "a", "x": "y"}),
        (["x: y", "Nats-Msg-Id: a"], "a", {"x": "y", "Nats-Msg-Id": "a"}),
        (["Nats-Msg-Id:a"], "a", {"Nats-Msg-Id": "a"}),
        (["x: y"], "", {"x": "y"}),
    ],
)
def test_its_id_and_its_other_headers_whatever_their_order(
    lines: list[str], message_id: str, extra: Mapping[str, str]
) -> None:
    raw = "\r\n".join(["NATS/1.0", *lines, "", ""]).encode() if lines else b""
    found = delivery(raw)
    assert (found.message_id, dict(found.extra_headers)) == (message_id, dict(extra))
