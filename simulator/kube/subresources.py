"""The parts of objects with paths of their own: status, scale, and what can be asked of a pod."""

from datetime import UTC, datetime

from aiohttp import web

from simulator.kube.answers import answer
from simulator.kube.builtin import scale as builtin_scale
from simulator.kube.builtin.pod_requests import (
    bound_pod,
    budget_to_charge,
    charged_budget,
    check_binding,
    check_eviction,
    evicted_pod,
)
from simulator.kube.builtin.rules import builtin_causes
from simulator.kube.deletion import DeleteOptions
from simulator.kube.kinds import NAMESPACE, POD, POD_DISRUPTION_BUDGET, Kind, Object
from simulator.kube.listing import version_parameter
from simulator.kube.negotiation import Form, negotiate
from simulator.kube.patches import patched_object
from simulator.kube.paths import ResourcePath
from simulator.kube.pod_routes import STREAMED, PodRoutes
from simulator.kube.requests import media_type, read_body, read_object, read_write_options
from simulator.kube.scale_route import ScaleRoute
from simulator.kube.schema.builtin import body_schema
from simulator.kube.schema.decode import decode
from simulator.kube.status import invalid, method_not_allowed, no_such_resource, not_found, with_warnings
from simulator.kube.store import ResourceStore
from simulator.kube.tables.presentation import presentation
from simulator.kube.timestamps import format_time
from simulator.kube.writing import Writer, check_present

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
        self._scale = ScaleRoute(store)

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
                return await self._scale.handle(request, path, form)
            case "finalize" if request.method == "PUT":
                return await self._finalize(request, path, form)
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
                writer = Writer(datetime.now(UTC), options.manager, warnings=warnings)
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
                writer = Writer(datetime.now(UTC), patch.options.manager, patch.tracked, warnings)
                with with_warnings(warnings):
                    obj = self._store.update_status(
                        kind, patch.obj, path.namespace, writer=writer, dry_run=patch.options.dry_run
                    )
            case _:
                raise method_not_allowed(path.kind, _VERBS.get(request.method, ""))
        shown = presentation(request.query, path.kind, form, path.served.columns)
        return answer(shown.of_object(obj), form, warnings=warnings)

    async def _finalize(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        """Take over the finalizers of a namespace's specification, and nothing else."""
        options = read_write_options(request, "Update")
        sent, warnings = await read_object(request, path, options, name=path.name)
        old = self._store.get(NAMESPACE, path.name or "")
        check_present(NAMESPACE, sent, old)
        new = {**old, "spec": {**old["spec"], "finalizers": (sent.get("spec") or {}).get("finalizers") or []}}
        if causes := builtin_causes(NAMESPACE, new, old):
            raise invalid(NAMESPACE, path.name or "", causes)
        stored = new if options.dry_run else self._store.amend(NAMESPACE, new)
        return answer(presentation(request.query, NAMESPACE, form).of_object(stored), form, warnings=warnings)

    async def _ask_pod(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        kind = _BINDING if path.subresource == "binding" else _EVICTION
        options = read_write_options(request, "Create")
        schema = body_schema(kind.group, kind.version, kind.kind)
        body = await read_body(request)
        sent, warnings = decode(kind, schema, body, media_type(request), options.validation)
        name, now = path.name or "", format_time(datetime.now(UTC))
        if kind is _BINDING:
            check_binding(sent, name)
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
