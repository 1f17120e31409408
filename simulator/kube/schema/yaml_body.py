"""YAML bodies, as the real server makes JSON of them: one document, YAML 1.1, names in order, times left as texts."""

import math
import re
from typing import Any, Final

import yaml

from simulator.kube.go_text import go_value
from simulator.kube.schema.go_json import INT64, MAX_DEPTH, Fraction, plain_number

_CLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""That of libyaml has the words of the real server, which comes from it."""
_BOOLS: Final = re.compile("(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON|n|N|no|No|NO|false|False|FALSE|off|Off|OFF)$")
_NULLS: Final = re.compile("(?:~|null|Null|NULL|)$")
_INTS: Final = re.compile(r"[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|[1-9][0-9_]*|0)$")
_FLOATS: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_ALIAS: Final = re.compile(r"\*([\w-]+)")
_TRUE: Final = ("y", "yes", "true", "on")
_FEW_ALIASES, _FEW_VALUES = 100, 1000
"""So many are never too many."""
_SMALL, _LARGE = 400_000, 4_000_000
"""Values of a document of which nearly all, and of which a tenth, may come from aliases."""


class YamlError(ValueError):
    """The text is not YAML, or holds what JSON cannot; the message is that of the real server."""


class _BodyLoader(_CLoader):  # type: ignore[misc]
    """Reads plain values by the rules above. `repeated` are the names that occur again in their object."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own name

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.repeated: list[str] = []


def parse_yaml(text: bytes) -> tuple[Any, list[str]]:
    """The value of the first document, as `go_json.parse` would have it of the JSON.

    Returns:
        The value, and what strict validation has against the text: the names that occur again.

    Raises:
        YamlError: the text is not YAML.
    """
    try:
        _check_depth(text)
        loader = _BodyLoader(text)
        try:
            node = loader.get_node() if loader.check_node() else None
            _check_aliases(node)
            return None if node is None else loader.construct_document(node), loader.repeated
        finally:
            loader.dispose()
    except yaml.composer.ComposerError as error:
        raise YamlError(f"yaml: {_alias_problem(text, error)}") from error
    except yaml.MarkedYAMLError as error:
        raise YamlError(f"yaml: {_where(error)}{error.problem}") from error
    except yaml.reader.ReaderError as error:
        raise YamlError(f"yaml: {error.reason!s}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise YamlError(f"yaml: {error}") from error


def _check_depth(text: bytes) -> None:
    """Check that the text is not nested too deeply, for which the reader that makes values of it does not look."""
    depth = 0
    for event in yaml.parse(text, Loader=_CLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ValueError(f"exceeded max depth of {MAX_DEPTH}")
        if isinstance(event, yaml.DocumentEndEvent):
            return


def _check_aliases(root: yaml.Node | None) -> None:
    """Check that aliases do not make a document far larger than it was written."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if id(node) in sizes:
            return sizes[id(node)]
        sizes[id(node)] = 1  # should it hold itself
        if isinstance(node, yaml.MappingNode):
            sizes[id(node)] += sum(size(key) + size(value) for key, value in node.value)
        elif isinstance(node, yaml.SequenceNode):
            sizes[id(node)] += sum(map(size, node.value))
        return sizes[id(node)]

    values = size(root)
    aliased = values - len(sizes)
    share = min(1.0, max(0.0, (values - _SMALL) / (_LARGE - _SMALL)))
    if aliased > _FEW_ALIASES and values > _FEW_VALUES and aliased > values * (0.99 - share * 0.89):
        raise ValueError("document contains excessive aliasing")


def _where(error: yaml.MarkedYAMLError) -> str:
    mark, context = error.problem_mark, error.context_mark
    line = mark.line + isinstance(error, yaml.scanner.ScannerError) if mark and mark.line else 0
    line = line or (context.line if context else 0)
    return f"line {line}: " if line else ""


def _alias_problem(text: bytes, error: yaml.MarkedYAMLError) -> str:
    """Why there is nothing that an alias could stand for."""
    at = error.problem_mark.index if error.problem_mark else 0
    name = _ALIAS.match(text.decode(errors="replace"), at)
    return f"unknown anchor '{name[1]}' referenced" if name else str(error.problem)


def _mapping(loader: _BodyLoader, node: yaml.MappingNode) -> dict[str, Any]:
    try:
        loader.flatten_mapping(node)
    except yaml.constructor.ConstructorError:
        raise ValueError("map merge requires map or sequence of maps as the value") from None
    found: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, dict | list):
            raise ValueError(f"invalid map key: {go_value(key, quoted=True)}")
        name = _key_text(key)
        if name in found:
            loader.repeated.append(f'line {key_node.start_mark.line + 1}: key "{name}" already set in map')
        found[name] = loader.construct_object(value_node, deep=True)
    return dict(sorted(found.items()))


def _key_text(key: Any) -> str:
    if key is None or isinstance(key, bool):
        return {None: "null", True: "true", False: "false"}[key]
    return str(key)


def _bool(_: _BodyLoader, node: yaml.ScalarNode) -> bool:
    return str(node.value).lower() in _TRUE


def _int(_: _BodyLoader, node: yaml.ScalarNode) -> float | str:
    text = str(node.value).replace("_", "")
    sign, digits = (-1, text[1:]) if text[:1] == "-" else (1, text.lstrip("+"))
    bases = {"0x": 16, "0b": 2, "0o": 8}
    base = bases.get(digits[:2], 8 if digits.startswith("0") else 10)
    try:
        number = sign * int(digits, base)
    except ValueError:
        raise ValueError(f"cannot decode !!str `{node.value}` as a !!int") from None
    try:
        return number if number in INT64 else _fraction(float(number))
    except OverflowError:
        return str(node.value)


def _float(_: _BodyLoader, node: yaml.ScalarNode) -> float | str:
    number = float(str(node.value))
    return _fraction(number) if math.isfinite(number) else str(node.value)


def _fraction(value: float) -> float:
    number = plain_number(value)
    if isinstance(number, int) and number in INT64:
        return number
    fraction = Fraction(number)
    fraction.text = repr(number)
    return fraction


def _untagged(loader: _BodyLoader, _: str, node: yaml.Node) -> Any:
    """A value with a tag that is not known, as if it had none."""
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    return _mapping(loader, node) if isinstance(node, yaml.MappingNode) else None


for _tag, _pattern, _starts in (
    ("tag:yaml.org,2002:bool", _BOOLS, "yYnNtTfFoO"),
    ("tag:yaml.org,2002:null", _NULLS, ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", _INTS, "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOATS, "-+.0123456789"),
    ("tag:yaml.org,2002:merge", re.compile("<<$"), "<"),
):
    _BodyLoader.add_implicit_resolver(_tag, _pattern, list(_starts))
_BodyLoader.add_multi_constructor("!", _untagged)
_BodyLoader.add_multi_constructor("tag:yaml.org,2002:", _untagged)
for _name in ("binary", "omap", "pairs", "set", "timestamp"):
    _BodyLoader.add_constructor(f"tag:yaml.org,2002:{_name}", lambda loader, node: _untagged(loader, "", node))
_BodyLoader.add_constructor("tag:yaml.org,2002:map", _mapping)
_BodyLoader.add_constructor("tag:yaml.org,2002:bool", _bool)
_BodyLoader.add_constructor("tag:yaml.org,2002:int", _int)
_BodyLoader.add_constructor("tag:yaml.org,2002:float", _float)
