"""Acting as another user, for those who may (`kubectl --as`). Pure functions of headers and of a decision.

Rights come in two forms, as in the real server: `impersonate` on users, groups and service accounts, which is for
everything; and the pair `impersonate:<mode>` on whom, with `impersonate-on:<mode>:<verb>` on what is then asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote

from simulator.kube.access.attributes import Attributes
from simulator.kube.access.users import (
    ANONYMOUS,
    AUTHENTICATED,
    MASTERS,
    NODES,
    UNAUTHENTICATED,
    User,
    as_node,
    as_service_account,
    service_account_groups,
)
from simulator.kube.status import ApiFailure, bad_request, forbidden

Allows = Callable[[Attributes], bool]
"""Whether the user who wants to be another one may do this."""

_AUTHENTICATION: Final = "authentication.k8s.io"
_USER: Final = "impersonate-user"
_GROUP: Final = "impersonate-group"
_UID: Final = "impersonate-uid"
_EXTRA: Final = "impersonate-extra-"


@dataclass(frozen=True, slots=True)
class _Mode:
    """A form of the right; `name` is empty for the one that is for everything."""

    name: str = ""

    @property
    def verb(self) -> str:
        return f"impersonate:{self.name}" if self.name else "impersonate"

    @property
    def group(self) -> str:
        """The API group of users and groups."""
        return _AUTHENTICATION if self.name else ""


def wanted_user(headers: Iterable[tuple[str, str]]) -> User | None:
    """The user that the `Impersonate-` headers ask for; None if they ask for none.

    Raises:
        ApiFailure: 400; they ask for groups and the like without a user.
    """
    names: list[str] = []
    groups: list[str] = []
    uids: list[str] = []
    extra: dict[str, tuple[str, ...]] = {}
    for header, value in headers:
        lowered = header.lower()
        if lowered.startswith(_EXTRA):
            key = unquote(lowered.removeprefix(_EXTRA))
            extra[key] = (*extra.get(key, ()), value)
        elif (values := {_USER: names, _GROUP: groups, _UID: uids}.get(lowered)) is not None:
            values.append(value)
    wanted = User(names[0] if names else "", tuple(groups), uids[0] if uids else "", tuple(sorted(extra.items())))
    if wanted.name:
        return wanted
    if groups or wanted.uid or extra:
        raise bad_request(f"requested {_in_go(wanted)} without impersonating a user name")
    return None


def impersonated(requestor: str, wanted: User, asked: Attributes, allows: Allows) -> User:
    """The user that answers to `wanted`, if the user called `requestor` may be it for the request `asked`.

    Raises:
        ApiFailure: 403.
    """
    refusals = []
    for mode in _modes(wanted):
        refusal = _refusal(requestor, mode, wanted, asked, allows)
        if refusal is None:
            return _complete(wanted, mode)
        refusals.append(refusal)
    raise refusals[0]


def _modes(wanted: User) -> Iterator[_Mode]:
    node, account = as_node(wanted.name), as_service_account(wanted.name)
    name_only = not (wanted.groups or wanted.uid or wanted.extra)
    if node and name_only:
        yield _Mode("arbitrary-node")
    if account and name_only:
        yield _Mode("serviceaccount")
    if not node and not account:
        yield _Mode("user-info")
    yield _Mode()


def _refusal(requestor: str, mode: _Mode, wanted: User, asked: Attributes, allows: Allows) -> ApiFailure | None:
    needed = list(_needed(mode, wanted))
    if mode.name:
        needed.insert(0, replace(asked, verb=f"impersonate-on:{mode.name}:{asked.verb}"))
    for attributes in needed:
        masters = mode.name and attributes.resource == "groups" and attributes.name == MASTERS
        if masters or not allows(attributes):
            return forbidden(attributes, requestor)
    return None


def _needed(mode: _Mode, wanted: User) -> Iterator[Attributes]:
    """The rights that it takes to be this user."""
    node, account = as_node(wanted.name), as_service_account(wanted.name)
    if mode.name and node:
        yield Attributes(mode.verb, mode.group, "nodes", name=node)
    elif account:
        yield Attributes(mode.verb, mode.group, "serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Attributes(mode.verb, mode.group, "users", name=wanted.name)
    if wanted.uid:
        yield Attributes(mode.verb, _AUTHENTICATION, "uids", name=wanted.uid)
    for group in wanted.groups:
        yield Attributes(mode.verb, mode.group, "groups", name=group)
    for key, values in wanted.extra:
        for value in values:
            yield Attributes(mode.verb, _AUTHENTICATION, "userextras", key, name=value)


def _complete(wanted: User, mode: _Mode) -> User:
    """The wanted user with the groups that its name brings."""
    groups = wanted.groups
    account = as_service_account(wanted.name)
    if account and not groups:
        groups = service_account_groups(account[0])
    elif mode.name and as_node(wanted.name):
        groups = (NODES,)
    standing = UNAUTHENTICATED if wanted.name == ANONYMOUS.name else AUTHENTICATED
    if standing in groups or UNAUTHENTICATED in groups:
        return replace(wanted, groups=groups)
    return replace(wanted, groups=(*groups, standing))


def _in_go(user: User) -> str:
    """The user as the real server's message shows it."""
    return (
        f'&user.DefaultInfo{{Name:"{user.name}", UID:"{user.uid}", Groups:{_list_in_go(user.groups)}, '
        f"Extra:{_map_in_go(dict(user.extra))}}}"
    )


def _list_in_go(values: tuple[str, ...]) -> str:
    return f"[]string{{{', '.join(map(_quoted, values))}}}" if values else "[]string(nil)"


def _map_in_go(values: Mapping[str, tuple[str, ...]]) -> str:
    if not values:
        return "map[string][]string(nil)"
    entries = (f"{_quoted(key)}:[]string{{{', '.join(map(_quoted, found))}}}" for key, found in values.items())
    return f"map[string][]string{{{', '.join(entries)}}}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
