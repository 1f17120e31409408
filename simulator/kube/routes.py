"""What each verb on each resource does: from the checked request to the store and back."""

from datetime import UTC, datetime

from aiohttp import web

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.reviews import REVIEW_KINDS
from simulator.kube.access.users import User
from simulator.kube.answers import answer, failure_answer
from simulator.kube.deletion import DeleteOptions
from simulator.kube.informing import inform
from simulator.kube.kinds import CREATED_BY_UPDATE, NAMESPACE, Object
from simulator.kube.listing import ListOptions, list_options, version_parameter
from simulator.kube.negotiation import Form, negotiate, negotiate_watch
from simulator.kube.patches import patched_object
from simulator.kube.paths import ResourcePath, parse_path
from simulator.kube.pod_routes import PodRoutes
from simulator.kube.pod_streams import NodeAgents
from simulator.kube.requests import (
    check_export,
    media_type,
    read_body,
    read_delete_options,
    read_object,
    read_write_options,
)
from simulator.kube.reviewing import Reviews
from simulator.kube.status import ApiFailure, bad_request, method_not_allowed, success, with_warnings
from simulator.kube.store import ResourceStore
from simulator.kube.subresources import Subresources
from simulator.kube.tables.presentation import Presentation, presentation
from simulator.kube.tables.table import include_parameter
from simulator.kube.watch_events import EventWriter, error_event
from simulator.kube.watching import WatchStream
from simulator.kube.write_options import WriteOptions
from simulator.kube.writing import Writer, as_new

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class KubeRoutes:
    """The API over one store. `watches` are the streams that are open."""

    def __init__(self, store: ResourceStore, authorizer: Authorizer, reviews: Reviews, agents: NodeAgents) -> None:
        self._store = store
        self._authorizer = authorizer
        self._reviews = reviews
        self._subresources = Subresources(store, PodRoutes(store, agents))
        self.watches: set[WatchStream] = set()

    async def handle(self, request: web.Request, user: User) -> web.StreamResponse:
        """Answer any request of a user who may make it; a failure becomes its Status object."""
        try:
            path = parse_path(request.path, self._store.registry)
            if path is None:
                return inform(request, self._store.registry)
            return await self._answer(request, path, user)
        except ApiFailure as failure:
            return failure_answer(failure, request.headers.get("Accept", ""))
        except RecursionError:
            return failure_answer(bad_request("the object is nested too deeply"), request.headers.get("Accept", ""))

    async def _answer(self, request: web.Request, path: ResourcePath, user: User) -> web.StreamResponse:
        if request.method == "HEAD" and not path.kind.custom:
            raise method_not_allowed(path.kind, "")
        if path.kind in REVIEW_KINDS and not path.watch:
            return await self._reviews.handle(request, path, user)
        accept = request.headers.get("Accept", "")
        if path.watch:
            if path.kind in REVIEW_KINDS or request.method not in ("GET", "HEAD"):
                raise method_not_allowed(path.kind, _VERBS.get(request.method, ""))
            return await self._watch(request, path, accept)
        if path.subresource is not None:
            return await self._subresources.handle(request, path)
        if path.name is None:
            return await self._collection(request, path, accept)
        return await self._object(request, path, negotiate(accept, custom=path.kind.custom), user)

    async def _collection(self, request: web.Request, path: ResourcePath, accept: str) -> web.StreamResponse:
        kind = path.kind
        match request.method:
            case "GET" | "HEAD":
                options = list_options(kind, request.query)
                if options.watch:
                    return await self._watch(request, path, accept)
                form = negotiate(accept, custom=path.kind.custom, streams=True)
                page = self._store.page(path.served.storage, path.namespace, options)
                return answer(self._shown(request, path, form).of_list(page), form)
            case "POST" if path.namespace is not None or not kind.namespaced:
                return await self._create(request, path, negotiate(accept, custom=path.kind.custom))
            case "DELETE" if (path.namespace is not None or not kind.namespaced) and kind != NAMESPACE:
                form = negotiate(accept, custom=path.kind.custom)
                selection = list_options(kind, request.query)
                options_of_delete = await read_delete_options(request)
                deleted = self._store.delete_collection(
                    path.served.storage, path.namespace, selection, options_of_delete
                )
                return answer(self._shown(request, path, form).of_list(deleted), form)
        if kind.custom and kind.namespaced and path.namespace is None:
            return inform(request, self._store.registry)  # there is nothing of that method
        if request.method in ("PUT", "PATCH") and kind.custom:
            raise bad_request("name must be provided")
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _object(self, request: web.Request, path: ResourcePath, form: Form, user: User) -> web.Response:
        kind, name = path.kind, path.name or ""
        match request.method:
            case "GET" | "HEAD":
                check_export(request.query)
                self._store.check_version(version_parameter(request.query.get("resourceVersion", "")))
                obj = self._store.get(path.served.storage, name, path.namespace)
                return self._answer_object(request, path, form, obj)
            case "PUT":
                return await self._update(request, path, form, user)
            case "PATCH":
                return await self._patch(request, path, form, user)
            case "DELETE":
                return await self._delete(request, path, form)
        if request.method == "POST" and kind.custom:
            return await self._create(request, path, form)
        raise method_not_allowed(kind, _VERBS.get(request.method, ""))

    async def _create(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        options = read_write_options(request, "Create")
        obj, warnings = await read_object(request, path, options, name=None)
        return self._created(request, path, form, obj, options, warnings)

    def _created(
        self,
        request: web.Request,
        path: ResourcePath,
        form: Form,
        obj: Object,
        options: WriteOptions,
        warnings: list[str],
        *,
        tracked: bool = False,
    ) -> web.Response:
        writer = _writer(options, warnings, tracked=tracked)
        with with_warnings(warnings):
            new = self._store.create(path.served.storage, obj, path.namespace, writer=writer, dry_run=options.dry_run)
        return self._answer_object(request, path, form, new, 201, warnings)

    async def _update(self, request: web.Request, path: ResourcePath, form: Form, user: User) -> web.Response:
        options = read_write_options(request, "Update")
        obj, warnings = await read_object(request, path, options, name=path.name)
        if path.kind in CREATED_BY_UPDATE and not self._store.holds(path.kind, path.name or "", path.namespace):
            self._check_create(path, user)
            return self._created(request, path, form, as_new(path.kind, obj, path.namespace), options, warnings)
        writer = _writer(options, warnings)
        with with_warnings(warnings):
            new = self._store.update(path.served.storage, obj, path.namespace, writer=writer, dry_run=options.dry_run)
        return self._answer_object(request, path, form, new, 200, warnings)

    async def _patch(self, request: web.Request, path: ResourcePath, form: Form, user: User) -> web.Response:
        body, sent_as = await read_body(request), media_type(request)
        patch = patched_object(
            self._store, path, body, sent_as, lambda apply: read_write_options(request, "Patch", apply=apply)
        )
        if patch.created:
            self._check_create(path, user)
            return self._created(request, path, form, patch.obj, patch.options, patch.warnings, tracked=True)
        writer = _writer(patch.options, patch.warnings, tracked=patch.tracked)
        with with_warnings(patch.warnings):
            new = self._store.update(
                path.served.storage, patch.obj, path.namespace, writer=writer, dry_run=patch.options.dry_run
            )
        return self._answer_object(request, path, form, new, 200, patch.warnings)

    def _check_create(self, path: ResourcePath, user: User) -> None:
        """Check that who may update or patch may also make what was not there (403)."""
        kind, namespace, name = path.kind, path.namespace or "", path.name or ""
        attributes = Attributes("create", kind.group, kind.plural, "", namespace, name)
        self._authorizer.check(user, attributes)

    async def _delete(self, request: web.Request, path: ResourcePath, form: Form) -> web.Response:
        kind, name = path.kind, path.name or ""
        options: DeleteOptions = await read_delete_options(request)
        obj, gone = self._store.delete(path.served.storage, name, path.namespace, options)
        status = 202 if not gone and options.orphan_dependents is False else 200
        if kind.returns_deleted or not gone:
            return self._answer_object(request, path, form, obj, status)
        return answer(success(kind, name, obj["metadata"]["uid"]), form, status)

    def _answer_object(
        self,
        request: web.Request,
        path: ResourcePath,
        form: Form,
        obj: Object,
        status: int = 200,
        warnings: list[str] | None = None,
    ) -> web.Response:
        deprecated = [path.served.deprecation] if path.served.deprecation else []
        shown = self._shown(request, path, form).of_object(obj)
        return answer(shown, form, status, [*deprecated, *(warnings or ())])

    def _shown(self, request: web.Request, path: ResourcePath, form: Form) -> Presentation:
        return presentation(request.query, path.kind, form, path.served.columns, path.served.list_kind)

    async def _watch(self, request: web.Request, path: ResourcePath, accept: str) -> web.StreamResponse:
        options: ListOptions = list_options(path.kind, request.query, name=path.name, watch=path.watch)
        form = negotiate_watch(accept, custom=path.kind.custom)
        include = include_parameter(request.query) if form.shape == "Table" else "Metadata"
        writer = EventWriter(path.kind, form, include=include, columns=path.served.columns)
        try:
            stream = WatchStream(self._store, path.served.storage, path.namespace, options, writer)
        except ApiFailure as failure:
            return web.Response(body=error_event(failure), content_type="application/json")
        self.watches.add(stream)
        try:
            return await stream.send(request)
        finally:
            self.watches.discard(stream)


def _writer(options: WriteOptions, warnings: list[str], *, tracked: bool = False) -> Writer:
    return Writer(datetime.now(UTC), options.manager, tracked, warnings)
