"""The failures of an apply, as the `Status` objects that a client reads."""

from collections.abc import Mapping, Sequence

from simulator.kube.apply.fields import FieldSet, path_text
from simulator.kube.apply.managed import Manager
from simulator.kube.kinds import Kind, Object
from simulator.kube.status import ApiFailure, bad_request


def wrong_type(config: Object) -> ApiFailure:
    """The configuration is of another kind, or of none (400)."""
    return bad_request(f"invalid object type: {_type_of(config)}")


def typed_failure(config: Object, problems: Sequence[str]) -> ApiFailure:
    """The configuration does not fit the schema (500, as the real API has it)."""
    return ApiFailure(500, f"failed to create typed patch object ({_named(config)}): {_listed_problems(problems)}")


def live_failure(config: Object, problems: Sequence[str]) -> ApiFailure:
    """What is stored does not fit the schema, such as an item of a list without its key (500)."""
    return ApiFailure(500, f"failed to create typed live object ({_named(config)}): {_listed_problems(problems)}")


def unmanageable(old: Object, problems: Sequence[str]) -> ApiFailure:
    """What is stored has no managers yet, and does not fit the schema that would give it some (500)."""
    prefix = "failed to create manager for existing fields: failed to convert new object"
    return ApiFailure(500, f"{prefix} ({_named(old)}) to smd typed: {_listed_problems(problems)}")


def not_convertible(kind: Kind, config: Object, problem: str) -> ApiFailure:
    """What the apply makes is no object of the kind (500, as the real API has it)."""
    into = f"{kind.api_version}, Kind={kind.kind}" if kind.group else f"/{kind.version}, Kind={kind.kind}"
    return ApiFailure(
        500,
        f"failed to convert new object ({_named(config)}) to proper version: unable to convert unstructured object to "
        f"{into}: {problem}",
    )


def apply_conflict(taken: Mapping[Manager, FieldSet]) -> ApiFailure:
    """Others manage fields that the apply would change (409)."""
    paths = {
        manager: [path_text(path) for path in taken[manager].paths()]
        for manager in sorted(taken, key=lambda manager: manager.identifier)
    }
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {manager}", "field": path}
        for manager, found in paths.items()
        for path in found
    ]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        lines = [line for manager, found in paths.items() for line in _listed(manager, found)]
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return ApiFailure(409, message, "Conflict", {"causes": causes})


def _listed_problems(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else "\n  ".join(["errors:", *problems])


def _listed(manager: Manager, paths: Sequence[str]) -> list[str]:
    return [f"conflicts with {manager}:", *(f"- {path}" for path in paths)]


def _type_of(config: Object) -> str:
    group, _, version = str(config.get("apiVersion") or "").rpartition("/")
    if "/" in group:
        return "/, Kind="
    return f"{group}/{version}, Kind={config.get('kind') or ''}"


def _named(config: Object) -> str:
    metadata = config.get("metadata")
    named = metadata if isinstance(metadata, dict) else {}
    return f"{named.get('namespace') or ''}/{named.get('name') or ''}; {_type_of(config)}"
