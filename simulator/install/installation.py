"""Putting the platform into a cluster: find its keys, apply its objects, wait until it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from simulator.errors import ConflictError, KubeError, NotFoundError, UsageError, WaitTimeoutError
from simulator.gpuunit import UNIT_NAMESPACES
from simulator.install.keys import PlatformKeys
from simulator.install.manifests import manifests
from simulator.install.names import KEYS_SECRET, PART_OF_LABEL, PLATFORM, PLATFORM_LABELS
from simulator.install.progress import obstacles, unready
from simulator.install.settings import InstallSettings
from simulator.install.target import TargetCluster, kind_of
from simulator.kube.informer import Informer, key_of
from simulator.kube.kinds import (
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    NAMESPACE,
    POD,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.one_error import one_error

WAITED_FOR: Final = (CUSTOM_RESOURCE_DEFINITION, STATEFUL_SET, DEPLOYMENT)
ESTABLISHED_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one object: `created`, `changed`, `unchanged`; in a dry run also `unchecked`."""

    object: str
    outcome: str


Tell = Callable[[str], None]
"""Is told a line of progress."""


async def platform_objects(cluster: TargetCluster, settings: InstallSettings) -> list[Object]:
    """The objects of this installation: with the keys that are in the cluster, or with new ones.

    Raises:
        UsageError: a namespace is somebody else's, or the platform is elsewhere in this cluster.
    """
    await _check_namespaces(cluster, settings)
    try:
        secret = await cluster.get(SECRET, KEYS_SECRET, settings.namespace)
    except NotFoundError:
        return manifests(settings, PlatformKeys.fresh())
    return manifests(settings, PlatformKeys.from_secret(secret.get("data") or {}))


async def _check_namespaces(cluster: TargetCluster, settings: InstallSettings) -> None:
    labels = {
        obj["metadata"]["name"]: (obj["metadata"].get("labels") or {}).get(PART_OF_LABEL)
        for obj in await cluster.list(NAMESPACE)
    }
    wanted = {settings.namespace, *UNIT_NAMESPACES}
    elsewhere = sorted(name for name, part_of in labels.items() if part_of == PLATFORM and name not in wanted)
    if elsewhere:
        raise UsageError(
            f"the platform is in this cluster already, in namespace {elsewhere[0]}: install it there, or take it out "
            "first with 'unitsim kube uninstall'"
        )
    for name in sorted(wanted & labels.keys()):
        if labels[name] != PLATFORM:
            raise UsageError(
                f"namespace {name} exists and is not the platform's, which deletes its namespaces when it goes: hand "
                f"it over with 'kubectl label namespace {name} {PART_OF_LABEL}={PLATFORM}'"
            )


async def apply_all(
    cluster: TargetCluster, objects: Sequence[Object], tell: Tell, *, force: bool = False, dry_run: bool = False
) -> list[Applied]:
    """Apply the objects in their order; a CustomResourceDefinition is waited for.

    Raises:
        KubeError: one was refused; those before it are applied.
    """
    done = []
    missing: set[str] = set()
    for obj in objects:
        outcome = await _apply(cluster, obj, missing, force=force, dry_run=dry_run)
        done.append(Applied(_name(obj), outcome))
        tell(f"{outcome:<9}  {_name(obj)}")
        if obj["kind"] == CUSTOM_RESOURCE_DEFINITION.kind and not dry_run:
            await wait_ready(cluster, [obj], tell, ESTABLISHED_TIMEOUT_S)
    return done


async def _apply(cluster: TargetCluster, obj: Object, missing: set[str], *, force: bool, dry_run: bool) -> str:
    metadata = obj["metadata"]
    namespace = metadata.get("namespace")
    try:
        before: Object | None = await cluster.get(kind_of(obj), metadata["name"], namespace)
    except NotFoundError:
        before = None
    if before is None and obj["kind"] == NAMESPACE.kind and dry_run:
        missing.add(metadata["name"])
    if namespace in missing:
        return "unchecked"  # the server checks nothing in a namespace that is not there
    try:
        after = await cluster.apply_object(obj, force=force, dry_run=dry_run)
    except ConflictError as error:
        raise ConflictError(f"{_name(obj)}: {error}; --force-conflicts takes it over") from error
    except KubeError as error:
        raise type(error)(f"{_name(obj)}: {error}") from error
    if before is None:
        return "created"
    return "unchanged" if _version(before) == _version(after) or (dry_run and _same(before, after)) else "changed"


async def wait_ready(cluster: TargetCluster, objects: Sequence[Object], tell: Tell, timeout_s: float) -> None:
    """Wait until all of the objects that run are there, telling what changes.

    Raises:
        WaitTimeoutError: not within `timeout_s` seconds; the message says what is missing and why.
    """
    wanted = [obj for obj in objects if kind_of(obj) in WAITED_FOR]
    kinds = {kind_of(obj) for obj in wanted}
    namespace = next((obj["metadata"]["namespace"] for obj in wanted if "namespace" in obj["metadata"]), None)
    watched: dict[Kind, Informer] = {kind: _informer(cluster, kind, namespace) for kind in (*kinds, POD)}
    if namespace is None:
        del watched[POD]
    waiting = _Waiting(wanted, watched, tell)
    async with running(watched.values()):
        await waiting.until_ready(timeout_s)


@asynccontextmanager
async def running(informers: Iterable[Informer]) -> AsyncIterator[None]:
    """Keep the copies up to date while the block runs."""
    with one_error():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(informer.run()) for informer in informers]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()


def _informer(cluster: TargetCluster, kind: Kind, namespace: str | None) -> Informer:
    return Informer(cluster, kind, namespace if kind.namespaced else None, labels=PLATFORM_LABELS)


class _Waiting:
    """What is still missing, and what was told of it."""

    def __init__(self, wanted: Sequence[Object], watched: dict[Kind, Informer], tell: Tell) -> None:
        self._wanted = wanted
        self._watched = watched
        self._tell = tell
        self._changed = asyncio.Event()
        self._told: dict[str, str] = {}
        for informer in watched.values():
            informer.on_change(lambda _key: self._changed.set())

    async def until_ready(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                for informer in self._watched.values():
                    await informer.synced()
                while self._report():
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError as error:
            missing = [f"{name} ({text})" for name, text in self._told.items() if text] or ["the cluster tells nothing"]
            raise WaitTimeoutError(
                f"not ready after {timeout_s:g} s: {', '.join(missing)}; look with 'kubectl get pods' and "
                "'kubectl describe', and run the command again: what is there stays"
            ) from error

    def _report(self) -> bool:
        """Tell what is new; whether anything is missing."""
        missing = False
        for wanted in self._wanted:
            live = self._watched[kind_of(wanted)].get(*key_of(wanted))
            text = unready(live) if live else "not there yet"
            missing = missing or bool(text)
            self._say(_name(wanted), text)
        pods = self._watched.get(POD)
        if pods is not None:
            for name, text in obstacles(pods.objects()).items():
                self._say(f"pod/{name}", text)
        return missing

    def _say(self, name: str, text: str) -> None:
        if self._told.get(name) != text:
            self._told[name] = text
            self._tell(f"{text or 'ready':<9}  {name}")


def _name(obj: Object) -> str:
    return f"{obj['kind'].lower()}/{obj['metadata']['name']}"


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion"))


def _same(before: Object, after: Object) -> bool:
    """Whether a dry run changed nothing: it gets no version of its own."""
    return _content(before) == _content(after)


def _content(obj: Object) -> Object:
    metadata = {
        name: value
        for name, value in obj["metadata"].items()
        if name not in ("managedFields", "resourceVersion", "generation")
    }
    return {**obj, "metadata": metadata, "status": None}
