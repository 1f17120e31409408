"""Bytes within an object, which are written in base64."""

import base64

from simulator.kube.schema.go_base64 import check_base64


def decoded(text: str) -> bytes:
    """The bytes; line ends between the letters do not count.

    Raises:
        Base64Error: the text is not base64.
    """
    check_base64(text)
    return base64.b64decode(text)


def encoded(content: bytes) -> str:
    """The base64 of the bytes."""
    return base64.b64encode(content).decode()
