"""What a list or a watch asks for, and the pages of a list. Pure functions of parameters and objects."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from simulator.kube.continuation import Continuation, decode_continue, encode_continue
from simulator.kube.field_selectors import field_tests, parse_field_terms
from simulator.kube.kinds import Kind, Object
from simulator.kube.selectors import Selector, parse_label_selector
from simulator.kube.status import ApiFailure, Cause, bad_request, forbidden_value, invalid_options

EXACT = "Exact"
NOT_OLDER_THAN = "NotOlderThan"

_MAX_INT64 = 2**63 - 1
_MAX_UINT64 = 2**64 - 1

KeyedObject = tuple[str, Object]
"""An object with what orders it in a list: its name, after its namespace and a slash in a list of all namespaces."""


@dataclass(frozen=True, slots=True)
class ListOptions:
    """The parameters of a list or a watch.

    `resource_version` None means "now", `timeout_s` None means that it was not said, `limit` 0 means no limit. Of a
    watch, `send_initial` says whether it begins with the objects that are there.
    """

    selector: Selector = field(default_factory=Selector)
    watch: bool = False
    resource_version: int | None = None
    version_match: str = ""
    send_initial: bool = False
    bookmarks: bool = False
    timeout_s: int | None = None
    limit: int = 0
    continuation: Continuation | None = None

    @property
    def exact_version(self) -> int | None:
        """The version whose state is asked for, None if any not older than `resource_version` will do."""
        if self.continuation is not None:
            return self.continuation.version
        if self.version_match == EXACT or (not self.version_match and self.limit and self.resource_version):
            return self.resource_version
        return None


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list, or all of it.

    `version` is that of the state which it shows, `token` is empty in the last part, `remaining` counts what follows
    where that is known.
    """

    objects: Sequence[Object]
    version: int
    token: str = ""
    remaining: int | None = None


def list_options(
    kind: Kind,
    query: Mapping[str, str],
    *,
    name: str | None = None,
    watch: bool = False,
    selectable: Collection[str] = (),
) -> ListOptions:
    """The parameters of a list or a watch.

    `name` is that of the path `watch/.../<name>`, whose requests are watches without saying so (`watch`). `selectable`
    are the fields that a custom resource can be selected by.

    Raises:
        ApiFailure: 400, 422, or 500 as the real API has it for a malformed version of a watch.
    """
    watch = watch or bool_parameter(query, "watch")
    timeout_s = int_parameter(query, "timeoutSeconds")
    limit = int_parameter(query, "limit") or 0
    labels = parse_label_selector(query.get("labelSelector", ""))
    terms = parse_field_terms(query.get("fieldSelector", ""))
    send_initial = bool_parameter(query, "sendInitialEvents") if "sendInitialEvents" in query else None
    match = query.get("resourceVersionMatch", "")
    if watch and send_initial is None and not match and query.get("resourceVersion", "") in ("", "0"):
        send_initial, match = True, NOT_OLDER_THAN  # a watch from no version in particular begins with what is there
    if causes := (_watch_causes if watch else _list_causes)(query, match, send_initial):
        raise invalid_options("ListOptions", *causes)
    if name is not None:
        if terms and ("metadata.name", name, True) not in terms:
            raise bad_request("fieldSelector metadata.name doesn't match requested name")
        terms = [*terms, ("metadata.name", name, True)]
    options = ListOptions(
        selector=Selector(labels, field_tests(kind, terms, selectable)),
        watch=watch,
        version_match=match,
        bookmarks=bool_parameter(query, "allowWatchBookmarks"),
        timeout_s=timeout_s,
        limit=max(limit, 0),
    )
    if watch:
        version = version_parameter(query.get("resourceVersion", ""))
        return replace(options, resource_version=version or None, send_initial=bool(send_initial))
    return _of_list(options, query)


def in_order(objects: Mapping[tuple[str, str], Object], namespace: str | None) -> list[KeyedObject]:
    """The objects of one namespace, or all (None), in the order of a list; given by namespace and name."""
    if namespace is None:
        keyed = [(f"{held_in}/{name}" if held_in else name, obj) for (held_in, name), obj in objects.items()]
    else:
        keyed = [(name, obj) for (held_in, name), obj in objects.items() if held_in == namespace]
    return sorted(keyed, key=lambda item: item[0])


def page_of(objects: Iterable[KeyedObject], options: ListOptions, version: int) -> Page:
    """The page that is asked for, of all objects in their order, in the state of `version`."""
    limit = 0 if options.resource_version == 0 or options.selector.is_of_one_name else options.limit
    start = options.continuation.start if options.continuation else ""
    listed = [(key, obj) for key, obj in objects if key >= start]
    chosen: list[Object] = []
    for at, (key, obj) in enumerate(listed):
        if options.selector.matches(obj):
            chosen.append(obj)
        if limit and len(chosen) >= limit and at + 1 < len(listed):
            remaining = len(listed) - limit if options.selector.is_empty else None
            return Page(chosen, version, encode_continue(f"{key}\0", version), remaining)
    return Page(chosen, version)


def int_parameter(query: Mapping[str, str], name: str) -> int | None:
    """A whole-numbered parameter, None when it is not there (400)."""
    text = query.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax')
    number = int(text)
    if not -_MAX_INT64 - 1 <= number <= _MAX_INT64:
        raise bad_request(f'strconv.ParseInt: parsing "{text}": value out of range')
    return number


def bool_parameter(query: Mapping[str, str], name: str) -> bool:
    """A parameter that is true if it is there, unless it says `0` or `false`."""
    return name in query and query[name] != "0" and query[name].lower() != "false"


def version_parameter(text: str) -> int | None:
    """A resource version, None for the empty one.

    Raises:
        ApiFailure: 500, as the real API has it but for lists.
    """
    if not text:
        return None
    problem = ""
    if not re.fullmatch(r"[0-9]+", text):
        problem = "invalid syntax"
    elif int(text) > _MAX_UINT64:
        problem = "value out of range"
    if problem:
        raise ApiFailure(
            500, f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": {problem}'
        )
    return int(text)


def _of_list(options: ListOptions, query: Mapping[str, str]) -> ListOptions:
    text = query.get("resourceVersion", "")
    if token := query.get("continue", ""):
        continuation = decode_continue(token)
        if text not in ("", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        return replace(options, continuation=continuation, resource_version=0 if text else None)
    try:
        return replace(options, resource_version=version_parameter(text))
    except ApiFailure as failure:
        raise bad_request(f"invalid resource version: {failure}") from failure


def _list_causes(query: Mapping[str, str], match: str, send_initial: bool | None) -> list[Cause]:
    causes = []
    if match and not query.get("resourceVersion"):
        problem = "resourceVersionMatch is forbidden unless resourceVersion is provided"
        causes.append(forbidden_value("resourceVersionMatch", problem))
    if match and query.get("continue"):
        causes.append(_forbidden_with_continue())
    if match not in ("", EXACT, NOT_OLDER_THAN):
        causes.append(_unknown_match(match, f'"{EXACT}", "{NOT_OLDER_THAN}", ""'))
    if match == EXACT and query.get("resourceVersion") == "0":
        problem = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        causes.append(forbidden_value("resourceVersionMatch", problem))
    if send_initial is not None:
        causes.append(forbidden_value("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return causes


def _watch_causes(query: Mapping[str, str], match: str, send_initial: bool | None) -> list[Cause]:
    causes = []
    if send_initial is not None and match != NOT_OLDER_THAN:
        problem = f"sendInitialEvents requires setting resourceVersionMatch to {NOT_OLDER_THAN}"
        causes.append(forbidden_value("resourceVersionMatch", problem))
    if match and send_initial is None:
        problem = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(forbidden_value("resourceVersionMatch", problem))
    if match not in ("", NOT_OLDER_THAN):
        causes.append(_unknown_match(match, f'"{NOT_OLDER_THAN}"'))
    if match and query.get("continue"):
        causes.append(_forbidden_with_continue())
    return causes


def _forbidden_with_continue() -> Cause:
    return forbidden_value("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")


def _unknown_match(match: str, supported: str) -> Cause:
    problem = f'Unsupported value: "{match}": supported values: {supported}'
    return Cause("FieldValueNotSupported", problem, "resourceVersionMatch")
