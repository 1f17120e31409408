"""One of several reconcilers works: leader election by a Lease (coordination.k8s.io), as client-go does it.

Who leads renews the Lease; the others watch it by their own clocks, never by the times written in it, and take it when
it has not changed for as long as it says. A leader that could not renew in time stops before that: it decides on no
write after its deadline, not even if its process was stopped and goes on later.

A Lease is no fence: a process that is stopped between `may_write` and the sending of what follows sends that when it
goes on, which is one write for each unit that it had at hand. Nor is one taken back that is on its way. Such a write
may be older than what the next leader wrote. A status names the version that was read, and is refused if the unit
changed since. What is applied or deleted holds until the next leader, which watches all that units own, puts it right.
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import structlog

from simulator.errors import AlreadyExistsError, ConflictError, KubeError, NotFoundError, UsageError
from simulator.kube.access.platform_roles import RECONCILER_LEASE
from simulator.kube.client import Cluster
from simulator.kube.kinds import LEASE, Object

_JITTER: Final = 1.2
"""How much later than asked for a candidate may look, in parts of the time: candidates do not keep step."""
_RELEASE_TIMEOUT_S: Final = 2.0

_log = structlog.get_logger(__name__)

MayWrite = Callable[[], None]
"""Raises NotLeadingError when nothing may be written now."""
Work = Callable[[MayWrite], Coroutine[Any, Any, None]]
"""What a leader does, until it is cancelled."""


class NotLeadingError(KubeError):
    """This reconciler's time as the leader is over, or may be."""


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """Seconds, as client-go has them: how long a Lease holds, how long its leader tries to renew it, and how often.

    Raises:
        UsageError: they do not leave a leader time to stop before another may begin.
    """

    lease_s: int = 15
    renew_s: float = 10
    retry_s: float = 2

    def __post_init__(self) -> None:
        if not self.lease_s > self.renew_s > self.retry_s * _JITTER > 0:
            raise UsageError(
                f"lease times {self.lease_s} s, {self.renew_s} s, {self.retry_s} s: the lease must be longer than "
                f"renewing may take, and that longer than {_JITTER} times the time between two tries"
            )


def _identity() -> str:
    return f"{socket.gethostname()}_{os.getpid()}_{secrets.token_hex(4)}"


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """Which Lease decides, and who is a candidate; `identity` is unlike any other's."""

    namespace: str
    name: str = RECONCILER_LEASE
    times: LeaseTimes = field(default_factory=LeaseTimes)
    identity: str = field(default_factory=_identity)


def may_take(lease: Object, seen_s: float, now_s: float, identity: str) -> bool:
    """Whether a candidate may take a Lease that has not changed since `seen_s`; both times are of its own clock."""
    spec = lease.get("spec") or {}
    holder = spec.get("holderIdentity") or ""
    return holder in ("", identity) or now_s >= seen_s + (spec.get("leaseDurationSeconds") or 0)


def taken(lease: Object | None, settings: LeaseSettings, now: datetime) -> Object:
    """The Lease as its holder writes it, first or again."""
    before = (lease or {}).get("spec") or {}
    again = before.get("holderIdentity") == settings.identity
    transitions = before.get("leaseTransitions") or 0
    spec = {
        "holderIdentity": settings.identity,
        "leaseDurationSeconds": settings.times.lease_s,
        "acquireTime": before["acquireTime"] if again and "acquireTime" in before else _micro_time(now),
        "renewTime": _micro_time(now),
        "leaseTransitions": transitions if again or lease is None else transitions + 1,
    }
    return _with_spec(lease, settings, spec)


def released(lease: Object, settings: LeaseSettings, now: datetime) -> Object:
    """The Lease without a holder: whoever looks next may take it."""
    spec = {
        "leaseDurationSeconds": 1,
        "acquireTime": _micro_time(now),
        "renewTime": _micro_time(now),
        "leaseTransitions": lease["spec"].get("leaseTransitions", 0),
    }
    return _with_spec(lease, settings, spec)


def _with_spec(lease: Object | None, settings: LeaseSettings, spec: Object) -> Object:
    new = {"apiVersion": LEASE.api_version, "kind": LEASE.kind}
    metadata = {"name": settings.name, "namespace": settings.namespace}
    return {**(lease or {**new, "metadata": metadata}), "spec": spec}


def _micro_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LeaderElection:
    """A candidate for one Lease; `run` works while it leads."""

    def __init__(self, cluster: Cluster, settings: LeaseSettings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._lease: Object | None = None
        self._seen_s = 0.0
        self._deadline_s = 0.0

    async def run(self, work: Work) -> None:
        """Wait until we lead, work, and wait again when that is over; until cancelled, or `work` raises.

        When `run` ends, the Lease is given back.
        """
        while True:
            await self._acquire()
            _log.info("leading", lease=self._settings.name, identity=self._settings.identity)
            try:
                why = await self._lead(work)
            finally:
                await self._release()
            _log.warning("not leading any more", lease=self._settings.name, why=why)

    async def _lead(self, work: Work) -> str:
        """Work until the Lease is lost; return why it is."""
        working = asyncio.create_task(work(self.may_write))
        renewing = asyncio.create_task(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost = renewing.done()
            for task in (working, renewing):
                task.cancel()
            await asyncio.wait({working, renewing})
        if not working.cancelled():
            working.result()
        return renewing.result() if lost else "its work ended"

    def may_write(self) -> None:
        """Make sure, right before a write, that nobody else can lead yet.

        Raises:
            NotLeadingError: somebody may.
        """
        if self._now() >= self._deadline_s:
            raise NotLeadingError("this reconciler does not lead: its lease was not renewed in time")

    async def _acquire(self) -> None:
        # A Lease that runs out makes no event: candidates look again and again, as client-go's do.
        while True:
            try:
                if await self._try_take():
                    return
            except (AlreadyExistsError, ConflictError):
                pass  # another candidate was faster
            except KubeError as error:
                _log.warning("no word of the lease", lease=self._settings.name, error=str(error))
            await asyncio.sleep(self._settings.times.retry_s * random.uniform(1, _JITTER))  # noqa: S311 - spreads load

    async def _renew(self) -> str:
        """Keep the Lease as long as can be; return why that is over."""
        while True:
            await asyncio.sleep(min(self._settings.times.retry_s, self._deadline_s - self._now()))
            if self._now() >= self._deadline_s:
                return "the lease could not be renewed in time"
            try:
                async with asyncio.timeout_at(self._deadline_s):
                    if not await self._try_take():
                        self._deadline_s = 0.0
                        return "another reconciler leads"
            except TimeoutError:
                pass  # the deadline is over
            except KubeError as error:
                _log.warning("lease not renewed, trying again", lease=self._settings.name, error=str(error))

    async def _try_take(self) -> bool:
        """Take or renew the Lease; whether we have it. Raises KubeError when that is not known."""
        await self._look()
        started_s = self._now()
        if self._lease and not may_take(self._lease, self._seen_s, started_s, self._settings.identity):
            return False
        wanted = taken(self._lease, self._settings, datetime.now(UTC))
        write = self._cluster.update if self._lease else self._cluster.create
        self._lease = await write(LEASE, wanted)
        self._seen_s = started_s
        self._deadline_s = started_s + self._settings.times.renew_s
        return True

    async def _look(self) -> None:
        try:
            lease = await self._cluster.get(LEASE, self._settings.name, self._settings.namespace)
        except NotFoundError:
            self._lease = None
            return
        if self._lease is None or lease.get("spec") != self._lease.get("spec"):
            self._seen_s = self._now()
        self._lease = lease

    async def _release(self) -> None:
        leading, self._deadline_s = self._now() < self._deadline_s, 0.0
        if not leading or self._lease is None:
            return  # it is another's, or may be
        try:
            async with asyncio.timeout(_RELEASE_TIMEOUT_S):
                await self._cluster.update(LEASE, released(self._lease, self._settings, datetime.now(UTC)))
        except (KubeError, TimeoutError) as error:
            _log.warning("lease not given back: it runs out", lease=self._settings.name, error=str(error))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
