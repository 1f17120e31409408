"""The parameters of a write: dry run, field manager, field validation, force (`CreateOptions` and so on)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from simulator.kube.status import Cause, forbidden_value, invalid_options, invalid_value, required

Validation = Literal["Strict", "Warn", "Ignore"]

MAX_MANAGER_BYTES = 128
_VALIDATIONS: dict[str, Validation] = {"": "Warn", "Ignore": "Ignore", "Strict": "Strict", "Warn": "Warn"}
_TRUE = ("1", "true", "t")


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """How a write is meant. `manager` is the name under which the fields are owned, empty if nobody said one."""

    dry_run: bool = False
    manager: str = ""
    validation: Validation = "Warn"
    force: bool = False


def write_options(
    verb: Literal["Create", "Update", "Patch"], query: Mapping[str, list[str]], user_agent: str, *, apply: bool = False
) -> WriteOptions:
    """Read the parameters of a request; `apply` that it is a server-side apply, which must name its manager.

    Raises:
        ApiFailure: 422; the message names each parameter that is wrong.
    """
    manager = _first(query, "fieldManager")
    validation = _first(query, "fieldValidation")
    force = _first(query, "force").lower()
    causes: list[Cause] = []
    if apply and not manager:
        causes.append(required("fieldManager", "is required for apply patch"))
    if not apply and verb == "Patch" and force:
        causes.append(forbidden_value("force", "may not be specified for non-apply patch"))
    causes += [*_manager_causes(manager), *dry_run_causes(query)]
    if validation not in _VALIDATIONS:
        problem = f'Unsupported value: "{validation}": supported values: "", "Ignore", "Strict", "Warn"'
        causes.append(Cause("FieldValueNotSupported", problem, "fieldValidation"))
    if causes:
        raise invalid_options(f"{verb}Options", *causes)
    return WriteOptions(
        dry_run=bool(_dry_run(query)),
        manager=manager or _from_user_agent(user_agent),
        validation=_VALIDATIONS[validation],
        force=force in _TRUE,
    )


def dry_run_causes(query: Mapping[str, list[str]]) -> list[Cause]:
    """What is wrong with the parameter `dryRun`, which may be nothing but `All`."""
    values = _dry_run(query)
    if set(values) <= {"All"}:
        return []
    shown = ",".join(f'"{value}"' for value in values)
    return [Cause("FieldValueNotSupported", f'Unsupported value: [{shown}]: supported values: "All"', "dryRun")]


def _dry_run(query: Mapping[str, list[str]]) -> list[str]:
    return [value for value in query.get("dryRun", []) if value]


def _first(query: Mapping[str, list[str]], name: str) -> str:
    return query.get(name, [""])[0]


def _manager_causes(manager: str) -> list[Cause]:
    if len(manager.encode()) > MAX_MANAGER_BYTES:
        return [Cause("FieldValueTooLong", f"Too long: may not be more than {MAX_MANAGER_BYTES} bytes", "fieldManager")]
    for position, character in enumerate(manager):
        if not character.isprintable():
            shown = manager.encode("unicode_escape").decode()
            problem = f"invalid character U+{ord(character):04X} (at position {position})"
            return [invalid_value("fieldManager", f'"{shown}"', problem)]
    return []


def _from_user_agent(user_agent: str) -> str:
    """The program's name at the start of a user agent, such as `kubectl` of `kubectl/v1.36 (linux)`."""
    name = "".join(character for character in user_agent.partition("/")[0] if character.isprintable())
    return name.encode()[:MAX_MANAGER_BYTES].decode(errors="ignore")
