"""A schema as this package uses it: one value type for built-in kinds and for those of a CustomResourceDefinition.

Schemas refer to each other and may be cyclic (a JSON schema contains JSON schemas), so they compare by identity.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

NO_DEFAULT = msgspec.UNSET
"""The value of `Schema.default` where there is none; None is a default of its own."""


class GoField(msgspec.Struct, frozen=True):
    """How the real server holds a field of a built-in kind.

    `type` is the name of the Go type in its messages, such as `int32`, `v1.PullPolicy` or `[]v1.Container`. The zero
    value of a field is left out of what is stored where `omit_empty`, unless a client set it and `pointer` tells "zero"
    from "not set". `embedded` names the structs that the field came with into the one that shows it.
    """

    type: str
    pointer: bool = False
    omit_empty: bool = False
    embedded: tuple[str, ...] = ()


class Limits(msgspec.Struct, frozen=True):
    """What restricts a value beyond its type. None, or empty, means that there is no such restriction."""

    enum: tuple[Any, ...] = ()
    pattern: str = ""
    minimum: float | None = None
    maximum: float | None = None
    exclusive_minimum: bool = False
    exclusive_maximum: bool = False
    multiple_of: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    unique_items: bool = False
    min_properties: int | None = None
    max_properties: int | None = None


class Rule(msgspec.Struct, frozen=True):
    """A rule in CEL that a value has to keep to (`x-kubernetes-validations`); texts are empty where there is none."""

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: str = ""
    field_path: str = ""
    optional_old_self: bool = False


class Schema(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """What one value may be, and how lists and maps within it are merged.

    `type` is `object`, `array`, `string`, `integer`, `number`, `boolean`, or empty where any JSON value will do.
    An object has `properties`, or any names with values of `additional`; neither means any names and values if
    `preserve_unknown`. `format` may also be `quantity` (text or number) and `int-or-string`.
    """

    type: str = ""
    format: str = ""
    title: str = ""
    """Name of the definition that this came from (`io.k8s.api.core.v1.PodSpec`), empty for one that has no name."""
    description: str = ""
    properties: Mapping[str, "Schema"] = msgspec.field(default_factory=lambda: MappingProxyType({}))
    additional: "Schema | None" = None
    items: "Schema | None" = None
    required: tuple[str, ...] = ()
    default: Any = NO_DEFAULT
    nullable: bool = False
    limits: Limits | None = None
    all_of: tuple["Schema", ...] = ()
    any_of: tuple["Schema", ...] = ()
    one_of: tuple["Schema", ...] = ()
    not_: "Schema | None" = None
    preserve_unknown: bool = False
    int_or_string: bool = False
    embedded: bool = False
    """Whether the value is an object with `apiVersion`, `kind` and `metadata` of its own."""
    list_type: str = ""
    """`atomic`, `set` or `map`; empty where it was not said, which means atomic."""
    list_map_keys: tuple[str, ...] = ()
    map_type: str = ""
    """`atomic` or `granular`; empty where it was not said, which means granular."""
    patch_strategy: tuple[str, ...] = ()
    """`merge`, `replace`, `retainKeys` of a strategic merge patch."""
    patch_merge_key: str = ""
    rules: tuple[Rule, ...] = ()
    go: GoField | None = None
    """Set on what is a field of a built-in kind."""

    @property
    def is_map(self) -> bool:
        """Whether the value has names of the client's choice, such as labels."""
        return self.type == "object" and self.additional is not None and not self.properties

    def property(self, name: str) -> "Schema | None":
        """The schema of the value that an object has under `name`; None if it may not have it, or nothing is known."""
        return self.properties.get(name) or self.additional


ANY = Schema(preserve_unknown=True)
"""The schema of a value about which nothing is known."""


@lru_cache(maxsize=4096)
def has_rules(schema: Schema) -> bool:
    """Whether there is a rule in CEL for a value of the schema, or for one within it."""
    inner = (*schema.properties.values(), schema.additional, schema.items)
    return bool(schema.rules) or any(has_rules(part) for part in inner if part is not None)
