"""From a PATCH to the object that is to be stored in its course."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from simulator.kube.apply.applying import applied
from simulator.kube.builtin.metadata_rules import immutable_metadata_causes
from simulator.kube.kinds import Object
from simulator.kube.patching.patches import APPLY_PATCH, check_patch_type, config_warnings, patched, read_config
from simulator.kube.paths import ResourcePath
from simulator.kube.schema.decode import check_identity
from simulator.kube.status import invalid, not_found
from simulator.kube.store import ResourceStore
from simulator.kube.write_options import WriteOptions


@dataclass(frozen=True, slots=True)
class Patched:
    """An object after a patch, before defaults.

    `created` that there was none before; `tracked` that its `managedFields` are right already.
    """

    obj: Object
    options: WriteOptions
    warnings: list[str]
    created: bool = False
    tracked: bool = False


def patched_object(
    store: ResourceStore, path: ResourcePath, body: bytes, media_type: str, options_of: Callable[[bool], WriteOptions]
) -> Patched:
    """Apply the patch; `options_of` reads the parameters, and is told whether it is a server-side apply.

    Raises:
        ApiFailure: 400, 404, 409, 413, 415, 422 or 500; the patch cannot be read, or does not fit.
    """
    check_patch_type(path.kind, media_type)
    options = options_of(media_type == APPLY_PATCH)
    if media_type == APPLY_PATCH:
        return _applied(store, path, body, options)
    old = path.kind.shown(store.get(path.served.storage, path.name or "", path.namespace))
    obj, warnings = patched(path.kind, path.served.schema, old, body, media_type, options.validation)
    check_identity(path.kind, obj, path.namespace, path.name)
    _check_fixed(path, obj, old)
    return Patched(obj, options, warnings)


def _applied(store: ResourceStore, path: ResourcePath, body: bytes, options: WriteOptions) -> Patched:
    kind, name = path.kind, path.name or ""
    config, repeated = read_config(body)
    old = (
        kind.shown(store.get(path.served.storage, name, path.namespace))
        if store.holds(path.served.storage, name, path.namespace)
        else None
    )
    if old is None and path.subresource:
        raise not_found(kind, name)
    obj = applied(
        kind,
        path.served.schema,
        old,
        config,
        manager=options.manager,
        force=options.force,
        subresource=path.subresource or "",
        now=datetime.now(UTC),
    )
    check_identity(kind, obj, path.namespace, name)
    warnings = config_warnings(repeated, options.validation)
    if old is None:
        metadata = {field: value for field, value in obj["metadata"].items() if field != "resourceVersion"}
        return Patched({**obj, "metadata": metadata}, options, warnings, created=True, tracked=True)
    _check_fixed(path, obj, old)
    return Patched(obj, options, warnings, tracked=True)


def _check_fixed(path: ResourcePath, obj: Object, old: Object) -> None:
    if causes := immutable_metadata_causes(obj["metadata"], old["metadata"]):
        raise invalid(path.kind, path.name or "", causes)
