"""The parts of objects with paths of their own: status, scale, and what can be asked of a pod."""

from datetime import UTC, datetime

from aiohttp import web

from simulator.kube import scaling
from simulator.kube.answers import answer
from simulator.kube.apply.scale import SPEC_REPLICAS, record_scale, replicas_path
from simulator.kube.builtin import scale as builtin_scale
from simulator.kube.builtin.pod_requests import (
    bound_pod,
    budget_to_charge,
    charged_budget,
    check_binding,
    check_eviction,
    evicted_pod,
)
from simulator.kube.deletion import DeleteOptions
from simulator.kube.kinds import POD, POD_DISRUPTION_BUDGET, Kind, Object
from simulator.kube.listing import version_parameter
from simulator.kube.negotiation import Form, negotiate
from simulator.kube.patches import patched_object
from simulator.kube.patching.patches import patched
from simulator.kube.paths import ResourcePath
from simulator.kube.pod_routes import STREAMED, PodRoutes
from simulator.kube.requests import media_type, read_body, read_object, read_write_options
from simulator.kube.schema.builtin import body_schema
from simulator.kube.schema.decode import check_identity, decode
from simulator.kube.status import conflict, invalid, method_not_allowed, no_such_resource, not_found, with_warnings
from simulator.kube.store import ResourceStore
from simulator.kube.strategy import timestamp, with_managers
from simulator.kube.tables.presentation import Presentation
from simulator.kube.tables.table import include_parameter
from simulator.kube.writing import Writer

_SCALE = builtin_scale.SCALE
_BINDING = Kind("", "v1", "Binding", "bindings", has_status=False, has_generation=False)
_EVICTION = Kind("policy", "v1", "Eviction", "evictions", has_status=False, has_generation=False)
_DONE = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Subresources:
    """The subresources over one store."""

    def __init__(self, store: ResourceStore, pods: PodRoutes) -> None:
        self._store = store
        self._pods = pods

    async def handle(self, request: web.Request, path: ResourcePath) -> web.StreamResponse:
        """Answer a request.

        Raises:
            ApiFailure: 404 there is no such subresource, 405, and what the subresource itself refuses.
        """
        kind = path.kind
        subresource = path.served.subresource(path.subresource or "")
        if subresource is None:
            raise not_found(kind, path.name or "") if kind.custom else no_such_resource()
        served = _VERBS.get(request.method, "get") in subresource.verbs
        if kind == POD and subresource.name in STREAMED and served:
            return await self._pods.handle(request, path)
        form = negotiate(request.headers.get("Accept", ""), custom=kind.custom)
        match path.subresource:
            case "status":
                return await self._status(request, path, form)
            case "scale":
                return await self._scale(request, path, form)
            case "binding" | "eviction" if kind == POD and request.method == "POST":
                return await self._ask_pod(request, path, form)
        if served:
            self._store.get(path.served.storage, path.name or "", path.namespace)
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _status(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        kind, name = path.served.storage, path.name or ""
        warnings: list[str] = []
        match request.method:
            case "GET" | "HEAD":
                self._store.check_version(version_parameter(request.query.get("resourceVersion", "")))
                obj = self._store.get(kind, name, path.namespace)
            case "PUT":
                options = read_write_options(request, "Update")
                sent, warnings = await read_object(request, path, options, name=name)
                writer = Writer(datetime.now(UTC), options.manager)
                with with_warnings(warnings):
                    obj = self._store.update_status(kind, sent, path.namespace, writer=writer, dry_run=options.dry_run)
            case "PATCH":
                body = await read_body(request)
                patch = patched_object(
                    self._store,
                    path,
                    body,
                    media_type(request),
                    lambda apply: read_write_options(request, "Patch", apply=apply),
                )
                warnings = patch.warnings
                writer = Writer(datetime.now(UTC), patch.options.manager, patch.tracked)
                with with_warnings(warnings):
                    obj = self._store.update_status(
                        kind, patch.obj, path.namespace, writer=writer, dry_run=patch.options.dry_run
                    )
            case _:
                raise method_not_allowed(path.kind, _VERBS.get(request.method, ""))
        include = include_parameter(request.query) if form.shape == "Table" else "Metadata"
        shown = Presentation(path.kind, form, datetime.now(UTC), include, path.served.columns, path.served.list_kind)
        return answer(shown.of_object(obj), form, warnings=warnings)

    async def _scale(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        if request.method in ("GET", "HEAD"):
            return answer(
                self._scale_of(path, self._store.get(path.served.storage, path.name or "", path.namespace)), form
            )
        if request.method not in ("PUT", "PATCH"):
            raise method_not_allowed(path.kind, _VERBS.get(request.method, ""))
        options = read_write_options(request, "Update" if request.method == "PUT" else "Patch")
        body, schema = await read_body(request), body_schema(_SCALE.group, _SCALE.version, _SCALE.kind)
        if request.method == "PUT":
            sent, warnings = decode(_SCALE, schema, body, media_type(request), options.validation)
            old = self._store.get(path.served.storage, path.name or "", path.namespace)
        else:
            old = self._store.get(path.served.storage, path.name or "", path.namespace)
            before = self._scale_of(path, old)
            sent, warnings = patched(_SCALE, schema, before, body, media_type(request), options.validation)
        check_identity(_SCALE, sent, path.namespace, path.name)
        if causes := builtin_scale.scale_causes(sent):
            raise invalid(_SCALE, path.name or "", causes)
        version = (sent.get("metadata") or {}).get("resourceVersion")
        if version and version != old["metadata"]["resourceVersion"]:
            raise conflict(path.kind, path.name or "")
        new = self._with_scale(path, old, sent, options.manager)
        writer = Writer(datetime.now(UTC), options.manager, tracked=True)
        stored = self._store.update(path.served.storage, new, path.namespace, writer=writer, dry_run=options.dry_run)
        return answer(self._scale_of(path, stored), form, warnings=warnings)

    def _scale_of(self, path: ResourcePath, obj: Object) -> Object:
        paths = path.served.scale
        return builtin_scale.scale_of(obj) if paths is None else scaling.scale_of(paths, obj)

    def _with_scale(self, path: ResourcePath, old: Object, scale: Object, manager: str) -> Object:
        paths = path.served.scale
        new = builtin_scale.with_scale(old, scale) if paths is None else scaling.with_scale(paths, old, scale)
        entries = record_scale(
            old["metadata"].get("managedFields") or [],
            SPEC_REPLICAS if paths is None else replicas_path(paths.spec_replicas),
            api_version=path.kind.api_version,
            manager=manager,
            before=_replicas(self._scale_of(path, old)),
            after=_replicas(scale),
        )
        # The version is the stored one: whether the client's was that is checked already.
        version = old["metadata"]["resourceVersion"]
        return with_managers({**new, "metadata": {**new["metadata"], "resourceVersion": version}}, entries)

    async def _ask_pod(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        kind = _BINDING if path.subresource == "binding" else _EVICTION
        options = read_write_options(request, "Create")
        schema = body_schema(kind.group, kind.version, kind.kind)
        body = await read_body(request)
        sent, warnings = decode(kind, schema, body, media_type(request), options.validation)
        name, now = path.name or "", timestamp(datetime.now(UTC))
        if kind is _BINDING:
            check_binding(sent)
            bound = bound_pod(self._store.get(POD, name, path.namespace), sent, now)
            if not options.dry_run:
                self._store.amend(POD, bound)
        else:
            check_eviction(sent, name)
            self._evict(name, path.namespace, sent, now, dry_run=options.dry_run)
        return answer(_DONE, form, 201, warnings)

    def _evict(self, name: str, namespace: str | None, eviction: Object, now: str, *, dry_run: bool) -> None:
        pod = self._store.get(POD, name, namespace)
        budget = budget_to_charge(pod, self._store.list(POD_DISRUPTION_BUDGET, namespace))
        asked = eviction.get("deleteOptions") or {}
        if dry_run or asked.get("dryRun"):
            return
        if budget is not None:
            self._store.amend(POD_DISRUPTION_BUDGET, charged_budget(budget, name, now))
        self._store.amend(POD, evicted_pod(pod, now))
        preconditions = asked.get("preconditions") or {}
        self._store.delete(
            POD,
            name,
            namespace,
            DeleteOptions(grace_period_s=asked.get("gracePeriodSeconds"), uid=preconditions.get("uid")),
        )


def _replicas(scale: Object) -> int:
    return int((scale.get("spec") or {}).get("replicas") or 0)
