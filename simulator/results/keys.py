"""Keys of results in the bucket: `<pool>.<invocation>`, whatever characters the invocation's ID has. Pure."""

import base64
import hashlib
import re
from typing import Final

MOST_BYTES: Final = 128
"""Longer IDs are hashed: a server closes the connection that uses a subject of more than 4096 bytes."""

_PLAIN: Final = re.compile(rf"[A-Za-z0-9_-]{{1,{MOST_BYTES}}}")


def invocation_token(invocation_id: str) -> str:
    """An invocation's ID as a part of a key; IDs with other characters than the API allows are encoded."""
    if _PLAIN.fullmatch(invocation_id):
        return invocation_id
    data = invocation_id.encode()
    if len(data) > MOST_BYTES:
        return "==" + hashlib.sha256(data).hexdigest()
    return "=" + base64.urlsafe_b64encode(data).decode()


def result_key(pool: str, invocation_id: str) -> str:
    """The key of an invocation's result; `pool` may be `*`, which stands for any."""
    return f"{pool}.{invocation_token(invocation_id)}"
