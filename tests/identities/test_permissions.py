"""S23: the lists of what each role may do, word for word; what the server makes of them is tested beside it."""

import pytest

from sidecar.queue import StreamSettings
from sidecar.subjects import Subjects, worker_inboxes
from simulator.identities import permissions
from simulator.identities.authority import Authority
from simulator.identities.permissions import Grants

STREAM = StreamSettings(name="S", subjects=Subjects("p.q"))


def covers(pattern: str, subject: str) -> bool:
    """Whether a subject with wildcards includes another one."""
    wanted, given = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(given) >= len(wanted) and covers(".".join(wanted[:-1]), ".".join(given[: len(wanted) - 1]))
    return len(wanted) == len(given) and all(one in ("*", other) for one, other in zip(wanted, given, strict=True))


def test_a_worker_s23() -> None:
    assert permissions.worker(STREAM, "pool", "w.1") == Grants(
        publish=(
            "p.q.result.pool",
            "p.q.metrics.pool",
            "p.q.dlq.dispatch.pool",
            "_INBOX.>",
            "$JS.API.CONSUMER.INFO.S.serverless-sidecar-w-1",
            "$JS.API.CONSUMER.MSG.NEXT.S.serverless-sidecar-w-1",
            "$JS.ACK.S.serverless-sidecar-w-1.>",
        ),
        listen=("p.q.cancel.pool.w-1",),
        inbox_prefix="_WORKER_INBOX.pool.w-1",
    )


def test_the_queue_offers_what_workers_use_and_no_more() -> None:
    grants = permissions.worker(STREAM, "pool", "w")
    exports = permissions.worker_exports(STREAM)
    used = {*grants.publish, permissions.ACCOUNT_INFO}
    for service, subjects in ((True, used), (False, set(grants.listen))):
        offered = [export.subject for export in exports if export.service == service]
        assert sorted(len([subject for subject in subjects if covers(pattern, subject)]) for pattern in offered) == [
            1
        ] * len(offered)
        assert len(offered) == len(subjects)
    assert [export.subject for export in exports if export.many_answers] == ["$JS.API.CONSUMER.MSG.NEXT.S.*"]


BUCKET = "KV_RUNTIME_INVOCATIONS"
SHARED = "KV_RUNTIME_ACTIVATOR"


def reading(stream: str) -> list[str]:
    return [
        f"$JS.API.STREAM.INFO.{stream}",
        f"$JS.API.STREAM.MSG.GET.{stream}",
        f"$JS.API.CONSUMER.CREATE.{stream}",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*",
    ]


def taking(durable: str) -> list[str]:
    return [f"$JS.API.CONSUMER.INFO.S.{durable}", f"$JS.API.CONSUMER.MSG.NEXT.S.{durable}", f"$JS.ACK.S.{durable}.>"]


MANAGING = [
    "$JS.API.CONSUMER.NAMES.S",
    "$JS.API.CONSUMER.INFO.S.*",
    "$JS.API.CONSUMER.DURABLE.CREATE.S.*",
    "$JS.API.CONSUMER.CREATE.S.>",
    "$JS.API.CONSUMER.DELETE.S.*",
]


@pytest.mark.parametrize(
    ("grants", "publish", "subscribe"),
    [
        pytest.param(
            permissions.api(STREAM),
            [
                "p.q.invoke.*",
                "p.q.cancel.*",
                *reading("S"),
                *reading(BUCKET),
                f"$JS.API.STREAM.MSG.GET.{SHARED}",
                "$JS.API.STREAM.MSG.DELETE.S",
            ],
            ["_INBOX.api.>"],
            id="api",
        ),
        pytest.param(
            permissions.activator(STREAM, "act"),
            [
                "p.q.dispatch.*.*",
                "p.q.result.*",
                "p.q.dlq.invocation.*",
                "p.q.cancel.*.*",
                "_INBOX.>",
                *taking("act"),
                *reading("S"),
                *MANAGING,
                "$JS.API.CONSUMER.PAUSE.S.*",
                *reading(SHARED),
                "$KV.RUNTIME_ACTIVATOR.>",
            ],
            ["p.q.cancel.*", "_PLATFORM_INBOX.activator.>"],
            id="activator",
        ),
        pytest.param(
            permissions.result_store(STREAM),
            [*taking("runtime-result-store"), *reading(BUCKET), "$KV.RUNTIME_INVOCATIONS.>"],
            ["_PLATFORM_INBOX.results.>"],
            id="results",
        ),
        pytest.param(
            permissions.owner(STREAM),
            [
                *(f"$JS.API.STREAM.{verb}.{name}" for name in ("S", BUCKET, SHARED) for verb in ("INFO", "CREATE")),
                "$JS.API.STREAM.MSG.GET.S",
                *MANAGING,
            ],
            ["_PLATFORM_INBOX.owner.>"],
            id="owner",
        ),
    ],
)
def test_the_platforms_parts(grants: Grants, publish: list[str], subscribe: list[str]) -> None:
    assert list(grants.permissions.publish) == publish
    assert list(grants.permissions.subscribe) == subscribe


def test_a_reader_publishes_requests_only_and_listens_to_all() -> None:
    grants = permissions.reader(STREAM)
    assert {subject.split(".")[0] for subject in grants.publish} == {"$JS"}
    assert not [subject for subject in grants.publish if "DELETE" in subject or "PURGE" in subject]
    assert grants.permissions.subscribe == ("p.q.>", "_PLATFORM_INBOX.reader.>")


def test_inboxes_of_different_identities_never_meet() -> None:
    prefixes = [
        permissions.activator(STREAM, "act").inbox_prefix,
        permissions.owner(STREAM).inbox_prefix,
        permissions.reader(STREAM).inbox_prefix,
        permissions.result_store(STREAM).inbox_prefix,
        permissions.api(STREAM).inbox_prefix,
        worker_inboxes("a", "b"),
        worker_inboxes("a", "c"),
        worker_inboxes("b", "b"),
    ]
    for one in prefixes:
        assert [other for other in prefixes if covers(f"{one}.>", f"{other}.x")] == [one]
    # Workers publish where callers wait, and at no other inbox than that.
    assert [prefix for prefix in prefixes if covers(permissions.CALLER_INBOXES, f"{prefix}.x")] == ["_INBOX.api"]


def test_an_authority_and_what_it_issues_show_no_secret(tmp_path_factory: pytest.TempPathFactory) -> None:
    authority = Authority(tmp_path_factory.mktemp("accounts"), STREAM)
    access = authority.access("api", permissions.api(STREAM))
    assert access.credentials is not None
    seed = access.credentials.text.split("-----BEGIN USER NKEY SEED-----\n")[1].split("\n")[0]
    assert seed.startswith("SU")
    shown = f"{authority!r} {access!r}"
    assert seed not in shown
    assert "eyJ" not in shown
