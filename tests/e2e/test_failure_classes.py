"""What each way of misbehaving becomes, through the whole platform: one result, a class of its own (S9, S17, S18)."""

import sys

import pytest

from scenarios.local_world import LocalWorld

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(150)]

MISBEHAVING = (sys.executable, "-m", "framework.misbehave")
LARGER_THAN_A_MESSAGE = "1200000"
LARGER_THAN_IS_READ = "3000000"

FAILURES = [
    # First the ones with little time, while no container restarts.
    ({"hang": "true"}, "expired", "framework_timeout", 504),
    ({"slow_headers": "60s"}, "expired", "framework_timeout", 504),
    ({"error": "no GPU"}, "failed", "handler_error", 500),
    ({"error": "no GPU", "status_code": "507"}, "failed", "handler_error", 507),
    ({"status_code": "1000"}, "failed", "invalid_status_code", 502),
    ({"bad_status": "503"}, "failed", "framework_refused", 502),
    ({"garbage": "json"}, "failed", "malformed_answer", 502),
    ({"garbage": "utf8"}, "failed", "malformed_answer", 502),
    ({"garbage": "envelope"}, "failed", "malformed_answer", 502),
    ({"garbage": "http"}, "failed", "framework_error", 502),
    ({"huge_body": LARGER_THAN_A_MESSAGE}, "failed", "result_too_large", 502),
    ({"huge_body": LARGER_THAN_IS_READ}, "failed", "result_too_large", 502),
    ({"disconnect": "before"}, "failed", "framework_error", 502),
    ({"disconnect": "headers"}, "failed", "framework_error", 502),
    ({"disconnect": "body"}, "failed", "framework_error", 502),
    ({"crash": "true"}, "failed", "framework_error", 502),
    ({"exit_code": "3"}, "failed", "framework_error", 502),
]


@pytest.mark.platform(framework_command=MISBEHAVING)
async def test_every_failure_has_one_result_of_its_own_class(world: LocalWorld) -> None:
    pool = await world.ready_pool("p")
    for number, (attributes, *expected) in enumerate(FAILURES):
        invocation_id = f"bad-{number}"
        budget_s = 3 if expected[0] == "expired" else 30
        answer = await pool.call({}, invocationID=invocation_id, attributes=attributes, timeoutSeconds=budget_s)
        assert [answer["state"], answer["failureClass"], answer["statusCode"]] == expected, (attributes, answer)
        assert answer["error"], attributes
        await world.events_of(invocation_id, "invocation_failed")
        [stored] = world.results_of(invocation_id)
        assert (stored.failure_class, stored.error) == (answer["failureClass"], answer["error"])
    answer = await pool.call({"still": "there"}, timeoutSeconds=30)
    assert (answer["state"], answer["body"]["payload"]) == ("succeeded", {"still": "there"})
    assert [entry for entry in world.platform.kubelet.containers() if entry.container == "serverless-sidecar"]
