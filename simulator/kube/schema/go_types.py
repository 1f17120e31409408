"""Reads from Go sources what the OpenAPI documents do not tell: the Go type of each field, and whether it may be empty.

A part of making the package's data, see `compile`; nothing at run time reads Go.
"""

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

_STRUCT = re.compile(r"^type (\w+) struct ?\{(?:$(.*?)^)?\}$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"^type (\w+) (map\[[\w.]+\][\w.\[\]*]+|\[\][\w.*]+)$", re.MULTILINE)
_FIELD = re.compile(r'^\t(?:\w+\s+)?([*\w.\[\]]+)\s+`[^`]*json:"([^"]*)"', re.MULTILINE)
_WORD = re.compile(r"[\w.]+")
_PLAIN = frozenset({"string", "bool", "int", "int32", "int64", "uint8", "float64", "map"})
_WITHOUT_FIELDS = frozenset(
    {"v1.Time", "v1.MicroTime", "resource.Quantity", "intstr.IntOrString", "runtime.RawExtension", "v1.FieldsV1"}
)
"""Structs that are not written as JSON objects of their fields."""
_IMPORTED = {
    "metav1": ("apimachinery", "pkg", "apis", "meta", "v1"),
    "types": ("apimachinery", "pkg", "types"),
    **dict.fromkeys(("v1", "corev1", "apiv1"), ("api", "core", "v1")),
}
"""The packages that versioned types import, by the names they give them."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a struct: its type as the Go runtime names it, what that stands for, and its flags.

    `flags` holds `p` for a pointer and `o` where an empty value is left out of the JSON. `embedded` are the structs
    within the struct, with dots between them, that have the field in truth.
    """

    type: str
    flags: str
    underlying: str = ""
    embedded: str = ""


def struct_fields(modules: Path, definition: str) -> dict[str, Field]:
    """The fields by their JSON names of the struct behind an OpenAPI definition; none where it is no struct.

    Raises:
        FileNotFoundError: a module is not in the directory `modules`.
    """
    *package, name = definition.removeprefix("io.k8s.").split(".")
    return Package(modules, tuple(package)).fields(name) if package else {}


def registered_kinds(modules: Path) -> dict[str, list[str]]:
    """The kinds by group and version, such as `apps/v1beta1`, that the release can read, served or not."""
    found = {}
    for module in (*modules.glob("api@*"), *modules.glob("apiextensions-apiserver@*/pkg/apis")):
        for source in sorted(module.glob("*/v*/register.go")):
            text = source.read_text()
            group = re.search(r'GroupName\s*=\s*"(.*)"', text)
            api_version = f"{group[1]}/{source.parent.name}".lstrip("/") if group else source.parent.name
            found[api_version] = sorted(re.findall(r"^\t+&(\w+)\{\},", text, re.MULTILINE))
    return found


@dataclass(frozen=True, slots=True)
class Package:
    """A Go package: a path below a module."""

    modules: Path
    path: tuple[str, ...]

    @property
    def source(self) -> str:
        """What its files hold, but for tests and what is generated."""
        return _sources(self)

    @property
    def structs(self) -> dict[str, str]:
        """The texts of its structs by their names."""
        return _structs(self)

    def fields(self, struct: str) -> dict[str, Field]:
        """The fields of a struct and of those that it embeds."""
        fields: dict[str, Field] = {}
        for declared, tag in _FIELD.findall(self.structs.get(struct, "")):
            name, *options = tag.split(",")
            if "inline" in options:
                package, embedded = self.located(declared)
                inner = package.fields(embedded)
                fields |= {key: replace(field, embedded=_dotted(embedded, field)) for key, field in inner.items()}
            elif name not in ("", "-"):
                fields[name] = self._field(declared, options)
        return fields

    def _field(self, declared: str, options: list[str]) -> Field:
        pointer = declared.startswith("*")
        type_name = _runtime_name(declared.removeprefix("*"))
        package, bare = self.located(declared.removeprefix("*"))
        is_struct = type_name in _WITHOUT_FIELDS or bare in package.structs
        omitted = "omitzero" in options or ("omitempty" in options and (pointer or not is_struct))
        underlying = dict(_NAMED.findall(package.source)).get(bare, "")
        return Field(type_name, "p" * pointer + "o" * omitted, _runtime_name(underlying))

    def located(self, declared: str) -> tuple["Package", str]:
        """The package of a type that is embedded or a field, and its bare name."""
        alias, _, name = declared.rpartition(".")
        return Package(self.modules, _IMPORTED.get(alias, self.path)), name


@cache
def _sources(package: Package) -> str:
    module, *inside = package.path
    found = [path for path in package.modules.iterdir() if path.name.split("@")[0] == module]
    if not found:
        raise FileNotFoundError(f"{package.modules} has no {module}: name the directory k8s.io of a module cache")
    files = sorted(found[0].joinpath(*inside).glob("*.go"))
    return "\n".join(file.read_text() for file in files if not re.search(r"_test|zz_|generated", file.name))


@cache
def _structs(package: Package) -> dict[str, str]:
    return {match[1]: match[2] or "" for match in _STRUCT.finditer(package.source)}


def _dotted(struct: str, field: Field) -> str:
    return f"{struct}.{field.embedded}" if field.embedded else struct


def _runtime_name(declared: str) -> str:
    """`PullPolicy` of a versioned package is `v1.PullPolicy` to the Go runtime, `byte` is `uint8`."""

    def name(match: re.Match[str]) -> str:
        word = match[0]
        if word == "byte":
            return "uint8"
        if word in _PLAIN:
            return word
        return re.sub(r"^\w*v1\.", "v1.", word) if "." in word else f"v1.{word}"

    return _WORD.sub(name, declared)
