"""The events of a watch, in every form, and how often they are written."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from simulator.kube import watch_events, watching
from simulator.kube.history import Change
from simulator.kube.kinds import CONFIG_MAP, GPUUNIT, POD, Object
from simulator.kube.listing import list_options
from simulator.kube.negotiation import Form
from simulator.kube.registry import Column
from simulator.kube.selectors import Selector, parse_selector
from simulator.kube.server import KubeServer
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore
from simulator.kube.watch_events import EventWriter
from simulator.kube.watching import WatchStream
from tests.kube.sessions import session_with

NS = "runtime-instance"
CONFIG_MAPS = f"api/v1/namespaces/{NS}/configmaps"
MADE_HERE = "watch=1&fieldSelector=metadata.name!=kube-root-ca.crt"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ALL = Selector()
WAIT_S = 10


def unit(name: str, **labels: str) -> Object:
    metadata = {"name": name, "namespace": NS, "labels": labels, "resourceVersion": "5"}
    return {"apiVersion": GPUUNIT.api_version, "kind": "GPUUnit", "metadata": metadata, "spec": {"specName": "s"}}


def writer(**form: Any) -> EventWriter:
    return EventWriter(GPUUNIT, Form(**form), columns=[Column("Spec", "string", ".spec.specName")], now=lambda: NOW)


def events(text: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_change_is_written_once_for_all_who_want_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    line = watch_events._line

    def counted(event_type: str, obj: Object) -> bytes:
        written.append(event_type)
        return line(event_type, obj)

    monkeypatch.setattr(watch_events, "_line", counted)
    change = Change("MODIFIED", 6, unit("u", app="b"), unit("u", app="a"))
    whole = {writer().change(change, ALL, NS) for _ in range(50)}
    assert (len(whole), written) == (1, ["MODIFIED"])
    leaving = {writer().change(change, parse_selector(GPUUNIT, "app=a", ""), NS) for _ in range(50)}
    coming = {writer().change(change, parse_selector(GPUUNIT, "app=b", ""), None) for _ in range(50)}
    tables = {writer(shape="Table").change(change, ALL, NS) for _ in range(50)}
    assert written == ["MODIFIED", "DELETED", "ADDED", "MODIFIED"]
    assert [len(lines) for lines in (leaving, coming, tables)] == [1, 1, 1]
    assert writer().change(change, ALL, "another") == b""


def test_the_columns_are_described_in_the_first_event_alone() -> None:
    tables = writer(shape="Table")
    change = Change("MODIFIED", 6, unit("u2"), unit("u2"))
    lines = tables.initial(unit("u1")) + tables.bookmark(9, end_of_initial=True) + tables.change(change, ALL, NS)
    objects = [event["object"] for event in events(lines)]
    assert [obj["columnDefinitions"] is None for obj in objects] == [False, True, True]
    assert [obj["rows"][0]["cells"] for obj in objects] == [["u1", "s"], ["", None], ["u2", "s"]]
    assert [obj["metadata"]["resourceVersion"] for obj in objects] == ["5", "9", "5"]


def test_metadata_alone() -> None:
    (event,) = events(writer(shape="PartialObjectMetadata", version="v1beta1").initial(unit("u")))
    assert (event["object"]["kind"], event["object"]["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1beta1")
    assert "spec" not in event["object"]
    assert writer(shape="PartialObjectMetadataList").initial(unit("u")) == b""


def test_a_bookmark_is_an_object_of_which_nothing_is_set() -> None:
    (event,) = events(EventWriter(POD).bookmark(9, end_of_initial=True))
    assert event == {
        "type": "BOOKMARK",
        "object": {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": {"resourceVersion": "9", "annotations": {"k8s.io/initial-events-end": "true"}},
            "spec": {"containers": None},
            "status": {},
        },
    }


def test_a_watch_of_a_version_of_the_future_fails_if_it_is_to_begin_with_what_is_there() -> None:
    query = {"watch": "1", "resourceVersion": "99999", "sendInitialEvents": "1", "resourceVersionMatch": "NotOlderThan"}
    with pytest.raises(ApiFailure, match="Too large resource version: 99999"):
        WatchStream(ResourceStore(), CONFIG_MAP, NS, list_options(CONFIG_MAP, query))


async def test_bookmarks_come_in_silence_and_before_the_end(
    server: KubeServer, store: ResourceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.01)
    store.create(CONFIG_MAP, {"metadata": {"name": "a"}}, NS)
    async with (
        asyncio.timeout(WAIT_S),
        session_with(server) as session,
        session.get(f"{CONFIG_MAPS}?{MADE_HERE}&allowWatchBookmarks=1") as watch,
    ):
        seen = [json.loads(await watch.content.readline()) for _ in range(4)]
        store.create(CONFIG_MAP, {"metadata": {"name": "b"}}, NS)
        while seen[-1]["type"] == "BOOKMARK":
            seen.append(json.loads(await watch.content.readline()))
    assert [event["type"] for event in seen[:4]] == ["ADDED", "BOOKMARK", "BOOKMARK", "BOOKMARK"]
    assert ["annotations" in event["object"]["metadata"] for event in seen[1:4]] == [True, False, False]
    assert seen[-1]["object"]["metadata"]["name"] == "b"


async def test_a_watch_whose_time_is_up_before_it_begins(server: KubeServer, store: ResourceStore) -> None:
    async with (
        asyncio.timeout(WAIT_S),
        session_with(server) as session,
        session.get(f"{CONFIG_MAPS}?{MADE_HERE}&timeoutSeconds=-1") as watch,
    ):
        assert await watch.content.read() == b""
    assert not store.history(CONFIG_MAP)._listeners
