"""Requests that the recorder wrote down otherwise than it had sent them, as their answers prove.

It kept the bodies that it sent by reference and changed some of them for a later request.
"""

from dataclasses import dataclass
from typing import Any

from simulator.kube.kinds import Object
from simulator.kube.patching.merge import merge_patch


@dataclass(frozen=True, slots=True)
class Correction:
    """What the body was, as a merge patch of the one written down, and how the answer proves it."""

    patch: Object
    proof: str


_REPLICAS = Correction({"spec": {"replicas": 0}}, "the answer says that the manager applied spec.replicas")
CORRECTIONS = {
    ("apply", "deployment", 1): _REPLICAS,
    ("apply", "deployment", 3): _REPLICAS,
    ("create", "unknown_field", 2): Correction({"metadata": {"name": "u1"}}, "the answer has the name"),
    ("create", "unknown_field", 3): Correction({"metadata": {"name": "u2"}}, "the answer has the name"),
    ("update", "put_ok", 3): Correction(
        {"metadata": {"labels": None}}, "the answer has no label, and the resource version of before"
    ),
}


def corrected(exchange: dict[str, Any]) -> dict[str, Any]:
    """The request of an exchange as it was sent."""
    request: dict[str, Any] = exchange["request"]
    correction = CORRECTIONS.get((exchange["topic"], exchange["case"], exchange["seq"]))
    return {**request, "body": merge_patch(request["body"], correction.patch)} if correction else request
