"""What a watcher sees, for any course of events."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.kube.kinds import GPUUNIT, Object
from simulator.kube.patching.merge import merge_patch
from simulator.kube.selectors import parse_selector
from simulator.kube.status import ApiFailure
from simulator.kube.store import ResourceStore

NS = "runtime-instance"
STEPS = st.tuples(
    st.sampled_from(["create", "label", "spec", "status", "delete", "finalize"]),
    st.sampled_from(["u1", "u2", "u3"]),
    st.sampled_from(["a", "b"]),
)


def take(store: ResourceStore, action: str, name: str, value: str) -> None:
    """One step; one that is not possible now changes nothing."""
    try:
        if action == "create":
            finalizers = ["example.com/hold"] if value == "b" else []
            metadata = {"name": name, "labels": {"app": value}, "finalizers": finalizers}
            store.create(GPUUNIT, {"metadata": metadata, "spec": {"specName": "s"}}, NS)
        elif action == "delete":
            store.delete(GPUUNIT, name, NS)
        elif action == "status":
            old = store.get(GPUUNIT, name, NS)
            store.update_status(GPUUNIT, merge_patch(old, {"status": {"phase": value}}), NS)
        else:
            patches: dict[str, Any] = {
                "label": {"metadata": {"labels": {"app": value}}},
                "spec": {"spec": {"image": value}},
                "finalize": {"metadata": {"finalizers": None}},
            }
            store.update(GPUUNIT, merge_patch(store.get(GPUUNIT, name, NS), patches[action]), NS)
    except ApiFailure as failure:
        assert failure.code in (404, 409)  # noqa: PT017 - which step fails depends on the ones before


@settings(deadline=None)
@given(before=st.lists(STEPS, max_size=8), after=st.lists(STEPS, max_size=16), labels=st.sampled_from(["", "app=a"]))
def test_a_list_and_the_changes_since_make_the_next_list(
    before: list[tuple[str, str, str]], after: list[tuple[str, str, str]], labels: str
) -> None:
    store = ResourceStore()
    selector = parse_selector(GPUUNIT, labels, "")
    for step in before:
        take(store, *step)
    copy: dict[str, Object] = {obj["metadata"]["name"]: obj for obj in store.list(GPUUNIT, NS, selector)}
    version = store.version
    for step in after:
        take(store, *step)
    seen = version
    for change in store.history(GPUUNIT).since(version):
        assert change.version > seen
        seen = change.version
        event = change.seen_through(selector, NS)
        if event is None:
            continue
        kind, obj = event
        name = obj["metadata"]["name"]
        assert (kind == "ADDED") == (name not in copy)
        assert obj["metadata"]["resourceVersion"] == str(change.version)
        if kind == "DELETED":
            del copy[name]
        else:
            copy[name] = obj
    assert copy == {obj["metadata"]["name"]: obj for obj in store.list(GPUUNIT, NS, selector)}
