"""What the API does to a Secret on each write: `stringData` becomes part of `data`, and both are checked."""

import base64
import binascii
import re
from typing import Any, Final

import msgspec

from simulator.kube.kinds import Object
from simulator.kube.status import Cause, bad_request, invalid_value

DEFAULT_TYPE: Final = "Opaque"
_KEY: Final = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_KEY_PROBLEM: Final = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  "
    "or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)


class _Content(msgspec.Struct, rename="camel"):
    data: dict[str, str] | None = None
    string_data: dict[str, str] | None = None
    type: str | None = None


def normalised_secret(secret: Object) -> Object:
    """The Secret as it is stored; a key of `stringData` replaces the same key of `data`.

    Raises:
        ApiFailure: 400; a field has the wrong type, or `data` is not base64.
    """
    try:
        content = msgspec.convert(secret, _Content)
        for value in (content.data or {}).values():
            base64.b64decode(value, validate=True)
    except (msgspec.ValidationError, binascii.Error) as error:
        raise bad_request(f'Secret in version "v1" cannot be handled as a Secret: {error}') from error
    texts = content.string_data or {}
    data = (content.data or {}) | {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    stored = {name: value for name, value in secret.items() if name not in ("data", "stringData")}
    return {**stored, **({"data": data} if data else {}), "type": content.type or DEFAULT_TYPE}


def secret_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Secret that `normalised_secret` returned: its keys, or that its type was changed."""
    keys = (new.get("data") or {}).keys()
    causes = [invalid_value(f"data[{key}]", f'"{key}"', _KEY_PROBLEM) for key in keys if not _is_key(key)]
    if old is not None and _type_of(old) != _type_of(new):
        causes.append(invalid_value("type", f'"{_type_of(new)}"', "field is immutable"))
    return causes


def _is_key(key: str) -> bool:
    return bool(_KEY.fullmatch(key)) and key != "." and not key.startswith("..")


def _type_of(secret: Object) -> Any:
    return secret.get("type")
