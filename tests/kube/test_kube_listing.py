"""What lists and watches ask for, continue tokens, and the pages of a list."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kube.continuation import Continuation, decode_continue, encode_continue
from simulator.kube.kinds import CONFIG_MAP, GPUUNIT, NAMESPACE, Object
from simulator.kube.listing import ListOptions, list_options, page_of
from simulator.kube.selectors import parse_selector
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore

NS = "runtime-instance"
ROOT_CA = "kube-root-ca.crt"
"""The ConfigMap that every namespace has from its beginning."""
EXACT = {"resourceVersionMatch": "Exact"}
NOT_OLDER = {"resourceVersionMatch": "NotOlderThan"}


def token_of(fields: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")


def names(objects: Any) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects]


def filled(*created: str, **options: Any) -> ResourceStore:
    store = ResourceStore(**options)
    store.delete(CONFIG_MAP, ROOT_CA, NS)
    for name in created:
        store.create(CONFIG_MAP, {"metadata": {"name": name}}, NS)
    return store


@pytest.mark.parametrize(
    ("query", "code", "problem"),
    [
        ({"limit": "x"}, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ({"limit": ""}, 400, 'strconv.ParseInt: parsing "": invalid syntax'),
        ({"limit": "9" * 20}, 400, "value out of range"),
        ({"limit": "x", "labelSelector": "a b"}, 400, "strconv.ParseInt"),
        ({"resourceVersion": "abc"}, 400, "invalid resource version: resourceVersion: Invalid value"),
        ({"resourceVersion": "-1"}, 400, "invalid syntax"),
        ({"resourceVersion": "9" * 20}, 400, "value out of range"),
        ({"resourceVersion": "abc", "watch": "1"}, 500, '^resourceVersion: Invalid value: "abc"'),
        (EXACT, 422, "resourceVersionMatch is forbidden unless resourceVersion is provided"),
        ({**EXACT, "resourceVersion": "0"}, 422, '"exact" is forbidden for resourceVersion "0"'),
        ({"resourceVersionMatch": "X", "resourceVersion": "1"}, 422, 'supported values: "Exact", "NotOlderThan", ""'),
        ({**EXACT, "resourceVersion": "1", "continue": "a"}, 422, "is forbidden when continue is provided"),
        ({"sendInitialEvents": ""}, 422, "sendInitialEvents is forbidden for list"),
        ({"watch": "1", "sendInitialEvents": "1"}, 422, "requires setting resourceVersionMatch to NotOlderThan"),
        ({"watch": "1", **EXACT, "resourceVersion": "1"}, 422, "is forbidden for watch unless sendInitialEvents"),
        ({"watch": "1", "continue": "a"}, 422, "resourceVersionMatch is forbidden when continue is provided"),
        ({"continue": token_of({"v": "meta.k8s.io/v1", "rv": 5, "start": "/a"}), "resourceVersion": "5"}, 400,
         "specifying resource version is not allowed when using continue"),
        ({"fieldSelector": "spec.x=1", "sendInitialEvents": "1"}, 422, "sendInitialEvents"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(query: dict[str, str], code: int, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as failure:
        list_options(GPUUNIT, query)
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("query", "send_initial", "version"),
    [
        ({}, True, None),
        ({"resourceVersion": "0"}, True, None),
        ({"resourceVersion": "5"}, False, 5),
        ({"resourceVersion": "5", "sendInitialEvents": "true", **NOT_OLDER}, True, 5),
        ({"sendInitialEvents": "false", **NOT_OLDER}, False, None),
    ],
)
def test_a_watch_from_no_version_begins_with_what_is_there(
    query: dict[str, str], send_initial: bool, version: int | None
) -> None:
    options = list_options(GPUUNIT, {**query, "watch": "true"})
    assert (options.watch, options.send_initial, options.resource_version) == (True, send_initial, version)


@pytest.mark.parametrize(("value", "watch"), [("1", True), ("", True), ("yes", True), ("0", False), ("False", False)])
def test_what_a_flag_may_be(value: str, watch: bool) -> None:
    assert list_options(GPUUNIT, {"watch": value}).watch is watch


def test_a_name_in_the_path_is_a_field_selector() -> None:
    options = list_options(GPUUNIT, {}, name="a", watch=True)
    assert [options.selector.matches({"metadata": {"name": name}}) for name in "ab"] == [True, False]
    with pytest.raises(ApiFailure, match=r"fieldSelector metadata\.name doesn't match requested name"):
        list_options(GPUUNIT, {"fieldSelector": "metadata.name=b"}, name="a", watch=True)


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("rubbish", "invalid character '®' looking for beginning of value"),
        ("a", "illegal base64 data at input byte 0"),
        ("ab=", "illegal base64 data at input byte 2"),
        ("abcde", "illegal base64 data at input byte 4"),
        (token_of([]), "json: cannot unmarshal array into Go value of type storage.continueToken"),
        (token_of({"rv": "5"}), "cannot unmarshal string into Go struct field continueToken.rv of type int64"),
        (token_of({"v": "meta.k8s.io/v2"}), "server does not recognize this encoded version meta.k8s.io/v2"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 0, "start": "x"}), "incorrect encoded start resourceVersion"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 1}), "encoded start key empty"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 1, "start": "../x"}), r"continue key is not valid: \.\./x"),
        (token_of({"v": "meta.k8s.io/v1", "rv": 1, "start": "//x"}), "continue key is not valid: //x"),
    ],
)
def test_a_foreign_continue_token_is_refused(token: str, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem):
        decode_continue(token)


def test_a_continue_token_is_that_of_the_real_server() -> None:
    token = encode_continue("kd-a/x\0", 276)
    assert token == "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6Mjc2LCJzdGFydCI6Ii9rZC1hL3hcdTAwMDAifQ"
    assert decode_continue(token) == Continuation("kd-a/x\0", 276)


@given(
    keys=st.lists(st.text("ab-/", min_size=1, max_size=4), unique=True, max_size=12),
    limit=st.integers(1, 5),
    labelled=st.sets(st.integers(0, 11)),
    selected=st.booleans(),
)
def test_the_pages_of_a_list_are_the_list(keys: list[str], limit: int, labelled: set[int], selected: bool) -> None:
    selector = parse_selector(GPUUNIT, "app=a" if selected else "", "")
    objects: list[tuple[str, Object]] = [
        (key, {"metadata": {"name": key, "labels": {"app": "a"} if at in labelled else {}}})
        for at, key in enumerate(sorted(keys))
    ]
    page = page_of(objects, ListOptions(selector, limit=limit), 7)
    found = list(page.objects)
    while page.token:
        assert (page.remaining is None) is selected
        assert len(page.objects) == limit
        following = Continuation(decode_continue_key(page.token), 7)
        page = page_of(objects, ListOptions(selector, limit=limit, continuation=following), 7)
        found += page.objects
    assert found == [obj for _, obj in objects if selector.matches(obj)]


def decode_continue_key(token: str) -> str:
    """The key in a token, whatever it is: those above are no paths."""
    padded = token + "=" * (-len(token) % 4)
    return str(json.loads(base64.urlsafe_b64decode(padded))["start"]).removeprefix("/")


def test_a_page_says_how_many_follow() -> None:
    store = filled("a", "b", "c", "d", "e")
    page = store.page(CONFIG_MAP, NS, ListOptions(limit=2))
    assert (names(page.objects), page.remaining) == (["a", "b"], 3)
    whole = store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, {"limit": "2", "resourceVersion": "0"}))
    assert (names(whole.objects), whole.token, whole.remaining) == (["a", "b", "c", "d", "e"], "", None)


def test_the_second_page_shows_the_state_of_the_first() -> None:
    store = filled("a", "b", "c")
    first = store.page(CONFIG_MAP, NS, ListOptions(limit=1))
    store.create(CONFIG_MAP, {"metadata": {"name": "bb"}}, NS)
    store.update(CONFIG_MAP, {"metadata": {"name": "c"}, "data": {"new": "1"}}, NS)
    store.delete(CONFIG_MAP, "b", NS)
    second = store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, {"continue": first.token}))
    assert (names(second.objects), second.version) == (["b", "c"], first.version)
    assert "data" not in second.objects[1]
    assert names(store.list(CONFIG_MAP, NS)) == ["a", "bb", "c"]


def test_a_state_that_is_forgotten_is_gone_but_the_rest_can_be_had() -> None:
    store = filled("a", "b", "c", watch_window=2)
    first = store.page(CONFIG_MAP, NS, ListOptions(limit=1))
    for name in "xyz":
        store.create(CONFIG_MAP, {"metadata": {"name": name}}, NS)
    exact = {"resourceVersion": str(first.version), **EXACT}
    with pytest.raises(ApiFailure, match="The resourceVersion for the provided list is too old") as failure:
        store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, exact))
    assert failure.value.code == 410
    with pytest.raises(ApiFailure, match="The provided continue parameter is too old") as failure:
        store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, {"continue": first.token}))
    token = failure.value.body["metadata"]["continue"]
    rest = store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, {"continue": token}))
    assert names(rest.objects) == ["b", "c", "x", "y", "z"]
    assert rest.version == store.version


@pytest.mark.parametrize("query", [{}, EXACT, NOT_OLDER, {"limit": "1"}])
def test_a_version_of_the_future_is_not_there(query: dict[str, str]) -> None:
    store = filled("a")
    with pytest.raises(ApiFailure, match="Timeout: Too large resource version: 99999, current: ") as failure:
        store.page(CONFIG_MAP, NS, list_options(CONFIG_MAP, {**query, "resourceVersion": "99999"}))
    assert failure.value.code == 504
    assert failure.value.body["details"]["retryAfterSeconds"] == 1


def test_a_list_of_all_namespaces_is_in_the_order_of_the_real_one() -> None:
    store = ResourceStore()
    for namespace in ("n", "n-b"):
        store.create(NAMESPACE, {"metadata": {"name": namespace}})
        store.create(CONFIG_MAP, {"metadata": {"name": "x"}}, namespace)
    made = [obj["metadata"] for obj in store.list(CONFIG_MAP) if obj["metadata"]["name"] != ROOT_CA]
    assert [metadata["namespace"] for metadata in made] == ["n-b", "n"]  # "n-b/x" is before "n/x"
