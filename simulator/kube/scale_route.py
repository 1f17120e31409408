"""The scale subresource: the number of replicas that an object wants, as an object of its own."""

from datetime import UTC, datetime

from aiohttp import web

from simulator.kube import scaling
from simulator.kube.answers import answer
from simulator.kube.apply.applying import applied
from simulator.kube.apply.fields import Path
from simulator.kube.apply.scale import SPEC_REPLICAS, after_scale_apply, record_scale, replicas_path, scale_entries
from simulator.kube.builtin import scale as builtin_scale
from simulator.kube.builtin.scale import SCALE
from simulator.kube.kinds import Object
from simulator.kube.negotiation import Form
from simulator.kube.patching.patches import APPLY_PATCH, config_warnings, patched, read_config
from simulator.kube.paths import ResourcePath
from simulator.kube.requests import media_type, read_body, read_write_options
from simulator.kube.schema.builtin import body_schema
from simulator.kube.schema.decode import check_identity, decode
from simulator.kube.schema.model import Schema
from simulator.kube.status import conflict, invalid, method_not_allowed, wrong_uid
from simulator.kube.store import ResourceStore
from simulator.kube.strategy import with_managers
from simulator.kube.tables.presentation import presentation
from simulator.kube.write_options import WriteOptions
from simulator.kube.writing import Writer

_WRITES = ("PUT", "PATCH")


class ScaleRoute:
    """The scale subresources over one store."""

    def __init__(self, store: ResourceStore) -> None:
        self._store = store

    async def handle(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        """Answer a request for a Scale, or one to change it.

        Raises:
            ApiFailure: 404, 405, 409, 422, and what a body or a patch is refused for.
        """
        shown = presentation(request.query, SCALE, form)
        if request.method in ("GET", "HEAD"):
            return answer(shown.of_object(_scale_of(path, self._stored(path))), form)
        if request.method not in _WRITES:
            raise method_not_allowed(path.kind, {"POST": "create", "DELETE": "delete"}.get(request.method, ""))
        applies = request.method == "PATCH" and media_type(request) == APPLY_PATCH
        options = read_write_options(request, "Update" if request.method == "PUT" else "Patch", apply=applies)
        body = await read_body(request)
        old, sent, warnings = self._wanted(request, path, body, options)
        _check(path, old, sent)
        entries = _entries_after_apply(path, old, sent) if applies else _entries(path, old, sent, options.manager)
        writer = Writer(datetime.now(UTC), options.manager, tracked=True)
        new = with_managers(_with_scale(path, old, sent), entries)
        stored = self._store.update(path.served.storage, new, path.namespace, writer=writer, dry_run=options.dry_run)
        return answer(shown.of_object(_scale_of(path, stored)), form, warnings=warnings)

    def _stored(self, path: ResourcePath) -> Object:
        return self._store.get(path.served.storage, path.name or "", path.namespace)

    def _wanted(
        self, request: web.Request, path: ResourcePath, body: bytes, options: WriteOptions
    ) -> tuple[Object, Object, list[str]]:
        """The stored object, the Scale that it is to have, and the warnings about that."""
        schema, sent_as = body_schema(SCALE.group, SCALE.version, SCALE.kind), media_type(request)
        if request.method == "PUT":
            sent, warnings = decode(SCALE, schema, body, sent_as, options.validation)
            return self._stored(path), sent, warnings
        old = self._stored(path)
        if sent_as == APPLY_PATCH:
            return old, *_applied(schema, path, old, body, options)
        return old, *patched(SCALE, schema, _scale_of(path, old), body, sent_as, options.validation)


def _scale_of(path: ResourcePath, obj: Object) -> Object:
    paths = path.served.scale
    return builtin_scale.scale_of(obj) if paths is None else scaling.scale_of(paths, obj)


def _with_scale(path: ResourcePath, old: Object, scale: Object) -> Object:
    paths = path.served.scale
    new = builtin_scale.with_scale(old, scale) if paths is None else scaling.with_scale(paths, old, scale)
    # The version is the stored one: whether the client's was that is checked already.
    return {**new, "metadata": {**new["metadata"], "resourceVersion": old["metadata"]["resourceVersion"]}}


def _check(path: ResourcePath, old: Object, sent: Object) -> None:
    check_identity(SCALE, sent, path.namespace, path.name)
    if causes := builtin_scale.scale_causes(sent):
        raise invalid(SCALE, path.name or "", causes)
    metadata, stored = sent.get("metadata") or {}, old["metadata"]
    if metadata.get("uid") not in (None, "", stored["uid"]):
        raise wrong_uid(path.kind, path.namespace, stored["name"], metadata["uid"], stored["uid"])
    if metadata.get("resourceVersion") not in (None, "", stored["resourceVersion"]):
        raise conflict(path.kind, stored["name"])


def _applied(
    schema: Schema, path: ResourcePath, old: Object, body: bytes, options: WriteOptions
) -> tuple[Object, list[str]]:
    """The Scale after a server-side apply, and the warnings about the configuration."""
    config, repeated = read_config(body)
    before = _scale_of(path, old)
    entries = scale_entries(old["metadata"].get("managedFields") or [], _replicas_path(path))
    sent = applied(
        SCALE,
        schema,
        {**before, "metadata": {**before["metadata"], "managedFields": entries}},
        config,
        manager=options.manager,
        force=options.force,
        subresource="scale",
        now=datetime.now(UTC),
    )
    return sent, config_warnings(repeated, options.validation)


def _entries(path: ResourcePath, old: Object, scale: Object, manager: str) -> list[Object]:
    return record_scale(
        old["metadata"].get("managedFields") or [],
        _replicas_path(path),
        api_version=path.kind.api_version,
        manager=manager,
        before=_replicas(_scale_of(path, old)),
        after=_replicas(scale),
    )


def _entries_after_apply(path: ResourcePath, old: Object, scale: Object) -> list[Object]:
    before, applied_ones = (obj["metadata"].get("managedFields") or [] for obj in (old, scale))
    return after_scale_apply(before, applied_ones, _replicas_path(path), path.kind.api_version)


def _replicas_path(path: ResourcePath) -> Path:
    paths = path.served.scale
    return SPEC_REPLICAS if paths is None else replicas_path(paths.spec_replicas)


def _replicas(scale: Object) -> int:
    return int((scale.get("spec") or {}).get("replicas") or 0)
