"""In which form a client wants its answer. Pure functions of the `Accept` header."""

from dataclasses import dataclass
from typing import Literal

from simulator.kube.status import ApiFailure, not_acceptable

JSON = "application/json"
YAML = "application/yaml"
META_GROUP = "meta.k8s.io"

Shape = Literal["", "Table", "PartialObjectMetadata", "PartialObjectMetadataList"]
"""What is made of the objects; empty for nothing."""

_SHAPES: tuple[Shape, ...] = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_SHAPE_VERSIONS = ("v1", "v1beta1")
_PROTOBUF = "application/vnd.kubernetes.protobuf"
_KNOWN = (JSON, YAML, _PROTOBUF)
_MEDIA_TYPES = ", ".join(_KNOWN)
_ANY = "*/*"
_STREAM_TYPES = f"{JSON};stream=watch, application/vnd.kubernetes.protobuf;stream=watch"


@dataclass(frozen=True, slots=True)
class Form:
    """A media type, and what is made of the objects in which version of the group `meta.k8s.io`."""

    media_type: str = JSON
    shape: Shape = ""
    version: str = "v1"
    pretty: bool = False

    @property
    def api_version(self) -> str:
        """What the documents of this shape say."""
        return f"{META_GROUP}/{self.version}"


@dataclass(frozen=True, slots=True)
class Clause:
    """One of the media types that a client names, as it is preferred by `quality`."""

    media_type: str
    parameters: tuple[tuple[str, str], ...]
    quality: float

    def parameter(self, name: str) -> str:
        """A parameter's value, empty if it is not there."""
        return dict(self.parameters).get(name, "")


def parse_accept(accept: str) -> list[Clause]:
    """What the header names, the best first."""
    clauses = [clause for part in accept.split(",") if (clause := _clause(part)) is not None]
    return sorted(clauses, key=lambda clause: (-clause.quality, clause.media_type.count("*")))


def negotiate(accept: str, *, custom: bool = True, streams: bool = False) -> Form:
    """The form that the client likes best of those that there are.

    `custom` that it is for a custom resource; of others, `streams` that they can be watched at this path.

    Raises:
        ApiFailure: 406; there is none.
    """
    if not custom:
        check_available(accept, *_KNOWN, *((_STREAM_TYPES,) if streams else ()))
    if not accept:
        return Form()
    for clause in parse_accept(accept):
        for media_type in (JSON, YAML):
            if _matches(clause.media_type, media_type) and (form := _form(clause, media_type)) is not None:
                return form
    raise not_acceptable(_MEDIA_TYPES)


def check_available(accept: str, *representations: str) -> None:
    """Check that the client names one of these media types, or any; a part of one such as `text/*` does not count.

    Raises:
        ApiFailure: 406.
    """
    named = {part.partition(";")[0].strip() for part in accept.split(",")} if accept else {_ANY}
    if not named & {_ANY, *representations}:
        problem = f"406: Not Acceptable\n\nAvailable representations: {', '.join(representations)}"
        raise ApiFailure(406, problem, "NotAcceptable", {})


def failure_form(accept: str) -> Form:
    """The form of a failure's Status, which nobody is refused."""
    try:
        return Form(negotiate(accept).media_type)
    except ApiFailure:
        return Form()


def negotiate_watch(accept: str, *, custom: bool = True) -> Form:
    """As `negotiate`, for a stream of events, of which there is none in YAML (406)."""
    form = negotiate(accept, custom=custom, streams=True)
    if form.media_type != JSON:
        raise not_acceptable(_STREAM_TYPES)
    return form


def wrong_shape(problem: str) -> ApiFailure:
    """The shape that was asked for cannot be made of this (406)."""
    return ApiFailure(406, problem, "NotAcceptable")


def _clause(part: str) -> Clause | None:
    media_type, *rest = (piece.strip() for piece in part.split(";"))
    if media_type == "*":
        media_type = _ANY
    if media_type.count("/") != 1:
        return None
    pairs = [tuple(text.strip() for text in piece.split("=")) for piece in rest]
    parameters = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2 and pair[1]]
    quality = next((value for name, value in parameters if name == "q"), "1")
    try:
        preference = float(quality)
    except ValueError:
        preference = 0.0
    return Clause(media_type, tuple(pair for pair in parameters if pair[0] != "q"), preference)


def _matches(wanted: str, media_type: str) -> bool:
    wanted_type, _, subtype = wanted.partition("/")
    return wanted in (media_type, _ANY) or (subtype == "*" and media_type.startswith(f"{wanted_type}/"))


def _form(clause: Clause, media_type: str) -> Form | None:
    if clause.parameter("sv") or clause.parameter("stream") not in ("", "watch"):
        return None
    if clause.parameter("stream") and media_type != JSON:
        return None
    pretty = clause.parameter("pretty") == "1"
    if not any(clause.parameter(name) for name in ("as", "g", "v")):
        return Form(media_type, pretty=pretty)
    shape = next((known for known in _SHAPES if known == clause.parameter("as")), None)
    version = clause.parameter("v")
    if shape is None or clause.parameter("g") != META_GROUP or version not in _SHAPE_VERSIONS:
        return None
    return Form(media_type, shape, version, pretty)
