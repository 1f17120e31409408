"""The rules for what holds data: ConfigMaps and Secrets."""

from collections.abc import Mapping
from typing import Final

from simulator.kube.builtin import formats
from simulator.kube.builtin.causes import IMMUTABLE, each, invalid, too_long
from simulator.kube.builtin.encoded import decoded
from simulator.kube.kinds import Object
from simulator.kube.schema.go_json import JsonError, kind_of, parse
from simulator.kube.status import Cause, forbidden_value, required

MAX_BYTES: Final = 1024 * 1024
_FROZEN: Final = "field is immutable when `immutable` is set"
_ACCOUNT_NAME: Final = "kubernetes.io/service-account.name"
_MAP: Final = "map[string]interface {}"
_DOCKER_KEYS: Final = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}


def config_map_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a ConfigMap, but for its metadata."""
    causes = _frozen_causes(new, old, ("data", "binaryData"))
    texts, binaries = new.get("data") or {}, new.get("binaryData") or {}
    for key in texts:
        causes += each(f"data[{key}]", key, formats.config_key(key))
        if key in binaries:
            causes.append(invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
    for key in binaries:
        causes += each(f"binaryData[{key}]", key, formats.config_key(key))
    size = sum(len(text.encode()) for text in texts.values()) + _size(binaries)
    return [*causes, too_long("[]", MAX_BYTES)] if size > MAX_BYTES else causes


def secret_causes(new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with a Secret, but for its metadata."""
    causes = []
    if old is not None and new["type"] != old.get("type"):
        causes.append(invalid("type", new["type"], IMMUTABLE))
    causes += _frozen_causes(new, old, ("data",))
    data = new.get("data") or {}
    for key in data:
        causes += each(f"data[{key}]", key, formats.config_key(key))
    if _size(data) > MAX_BYTES:
        causes.append(too_long("data", MAX_BYTES))
    return [*causes, *_type_causes(new, data)]


def _type_causes(secret: Object, data: Mapping[str, str]) -> list[Cause]:
    """What a Secret of a type that the cluster knows must contain."""
    match secret["type"]:
        case "kubernetes.io/service-account-token":
            if (secret["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME):
                return []
            return [required(f"metadata.annotations[{_ACCOUNT_NAME}]", "")]
        case "kubernetes.io/dockercfg" | "kubernetes.io/dockerconfigjson" as kind:
            return _docker_causes(data, _DOCKER_KEYS[kind])
        case "kubernetes.io/basic-auth":
            if data.keys() & {"username", "password"}:
                return []
            return [required("data[username]", ""), required("data[password]", "")]
        case "kubernetes.io/ssh-auth":
            return [] if data.get("ssh-privatekey") else [required("data[ssh-privatekey]", "")]
        case "kubernetes.io/tls":
            return [required(f"data[{key}]", "") for key in ("tls.crt", "tls.key") if key not in data]
    return []


def _docker_causes(data: Mapping[str, str], key: str) -> list[Cause]:
    if key not in data:
        return [required(f"data[{key}]", "")]
    content = decoded(data[key])
    try:
        value = parse(content)
        problem = (
            "" if isinstance(value, dict) else f"json: cannot unmarshal {kind_of(value)} into Go value of type {_MAP}"
        )
    except JsonError as error:
        problem = str(error)
    return [invalid(f"data[{key}]", "<secret contents redacted>", problem)] if problem else []


def _frozen_causes(new: Object, old: Object | None, fields: tuple[str, ...]) -> list[Cause]:
    """What was changed of an object that was declared unchangeable."""
    if old is None or not old.get("immutable"):
        return []
    causes = [] if new.get("immutable") else [forbidden_value("immutable", _FROZEN)]
    changed = [name for name in fields if (new.get(name) or {}) != (old.get(name) or {})]
    return [*causes, *(forbidden_value(name, _FROZEN) for name in changed)]


def _size(binaries: Mapping[str, str]) -> int:
    return sum(len(decoded(text)) for text in binaries.values())
