"""The requests that ask about access: reviews, which are created, answered and forgotten."""

from datetime import UTC, datetime
from functools import partial
from typing import Final

from aiohttp import web

from simulator.kube.access.authorization import Authorizer
from simulator.kube.access.credentials import Credentials
from simulator.kube.access.reviews import REVIEW_KINDS, TRACKED, Asker, reviewed
from simulator.kube.access.users import User
from simulator.kube.answers import answer
from simulator.kube.apply.updating import record_update
from simulator.kube.kinds import Kind
from simulator.kube.negotiation import negotiate
from simulator.kube.paths import ResourcePath
from simulator.kube.registry import Registry, Served
from simulator.kube.requests import read_object, read_write_options
from simulator.kube.schema.builtin import builtin_schema
from simulator.kube.status import method_not_allowed, no_such_resource
from simulator.kube.strategy import with_managers

_CREATED: Final = 201


class Reviews:
    """Answers reviews by what is decided on requests."""

    def __init__(self, authorizer: Authorizer, credentials: Credentials, registry: Registry) -> None:
        self._authorizer = authorizer
        self._credentials = credentials
        for kind in REVIEW_KINDS:
            registry.add(_served(kind))

    async def handle(self, request: web.Request, path: ResourcePath, user: User) -> web.Response:
        """Answer a request about one of the review kinds.

        Raises:
            ApiFailure: 404 or 405 unless it creates one; 400, 413, 415 or 422 for what is wrong with it.
        """
        if path.name is not None or (path.kind.namespaced and path.namespace is None):
            raise no_such_resource()
        if request.method != "POST":
            raise method_not_allowed(None, request.method)
        form = negotiate(request.headers.get("Accept", ""), custom=False)
        options = read_write_options(request, "Create")
        review, warnings = await read_object(request, path, options, name=None)
        now = datetime.now(UTC)
        if path.kind in TRACKED:
            schema = path.served.schema
            entries = record_update(path.kind, schema, None, review, manager=options.manager, now=now)
            review = with_managers({**review, "metadata": review.get("metadata") or {}}, entries)
        asker = Asker(user, self._authorizer, self._credentials, now)
        return answer(reviewed(path.kind, review, path.namespace, asker), form, _CREATED, warnings)


def _served(kind: Kind) -> Served:
    return Served(
        kind=kind,
        storage=kind,
        load=partial(builtin_schema, kind),
        singular=kind.kind.lower(),
        list_kind="",
        verbs=("create",),
    )
