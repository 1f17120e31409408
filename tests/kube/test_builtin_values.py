"""The forms of values: quantities, times, names; and the canonical form of whole objects."""

import pytest

from simulator.kube.builtin import formats
from simulator.kube.builtin.canonical import canonical
from simulator.kube.builtin.defaults import with_builtin_defaults
from simulator.kube.builtin.pod_defaults import pull_policy
from simulator.kube.builtin.quantities import QuantityError, parse_quantity
from simulator.kube.builtin.rules import builtin_causes
from simulator.kube.builtin.times import MICROSECONDS, SECONDS, TimeError, canonical_time
from simulator.kube.builtin.warnings import builtin_warnings
from simulator.kube.kinds import (
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    EVENT,
    GPUUNIT,
    LEASE,
    NODE,
    POD,
    ROLE,
    SECRET,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.status import ApiFailure
from tests.kube.samples import sample


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0", "0"),
        ("0.0", "0"),
        ("1", "1"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("100000k", "100M"),
        ("64Mi", "64Mi"),
        ("65536Ki", "64Mi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("12e6", "12e6"),
        ("1E", "1E"),
        ("-2", "-2"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        (".5", "500m"),
        ("1.", "1"),
        ("9Ei", "9223372036854775807"),
    ],
)
def test_a_quantity_is_written_in_one_way(text: str, written: str) -> None:
    assert str(parse_quantity(text)) == written
    assert parse_quantity(written).amount == parse_quantity(text).amount


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "must match the regular expression"),
        ("abc", "must match the regular expression"),
        ("1.5.5", "must match the regular expression"),
        ("1 Mi", "must match the regular expression"),
        ("9" * 5000, "must match the regular expression"),
        (f"1e{'9' * 5000}", "must match the regular expression"),
        ("1KK", "unable to parse quantity's suffix"),
        ("1e", "unable to parse quantity's suffix"),
    ],
)
def test_what_is_no_quantity(text: str, problem: str) -> None:
    with pytest.raises(QuantityError, match=problem):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "layout", "written"),
    [
        ("2020-01-01T00:00:00Z", SECONDS, "2020-01-01T00:00:00Z"),
        ("2020-01-01T00:00:00.9+01:00", SECONDS, "2019-12-31T23:00:00Z"),
        ("2020-01-01T00:00:00.123456Z", MICROSECONDS, "2020-01-01T00:00:00.123456Z"),
        ("2020-01-01T00:00:00.000001-00:30", MICROSECONDS, "2020-01-01T00:30:00.000001Z"),
    ],
)
def test_a_time_is_written_in_one_way(text: str, layout: str, written: str) -> None:
    assert canonical_time(text, layout) == written


@pytest.mark.parametrize(
    ("text", "layout", "problem"),
    [
        ("2020-01-01T00:00:00Z", MICROSECONDS, 'cannot parse "Z" as ".000000"'),
        ("yesterday", SECONDS, 'cannot parse "yesterday" as "2006"'),
        ("2020-01-01", SECONDS, 'cannot parse "" as "T"'),
        ("2020-13-01T00:00:00Z", SECONDS, "month out of range"),
        ("2020-02-30T00:00:00Z", SECONDS, "day out of range"),
        ("2020-01-01T00:00:00Zx", SECONDS, 'extra text: "x"'),
    ],
)
def test_what_is_no_time(text: str, layout: str, problem: str) -> None:
    with pytest.raises(TimeError, match=problem):
        canonical_time(text, layout)


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("busybox", "Always"),
        ("busybox:latest", "Always"),
        ("busybox:1", "IfNotPresent"),
        ("localhost:5000/a/b", "Always"),
        ("localhost:5000/a/b:2", "IfNotPresent"),
        (f"a/b@sha256:{'0' * 64}", "IfNotPresent"),
        (f"a/b:latest@sha256:{'0' * 64}", "Always"),
        ("Not/An/Image", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_the_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (formats.label, "a-1", ["", "A", "a.b", "-a", "a" * 64]),
        (formats.subdomain, "a.b-c", ["", "a..b", "A", "a" * 254]),
        (formats.qualified_name, "example.com/My_name", ["", "/a", "a/", "a/b/c", "A.com/x", "a b", "x" * 64]),
        (formats.label_value, "", ["a b", "-a", "x" * 64]),
        (formats.config_key, ".key-1_A", ["", "a/b", ".", "..", "..a", "x" * 254]),
        (formats.variable_name, "a-b.c d", ["", "a=b", "ä", "a\n"]),
        (formats.port_name, "http-1", ["", "A", "80", "a--b", "-a", "a" * 16]),
        (formats.volume_path, "a/b..c", ["/a", "a/../b", "..a", ".."]),
        (formats.ip_address, "10.0.0.1", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "::ffff:1.2.3.4"]),
        (formats.percentage, "25%", ["25", "%", "-1%"]),
        (formats.path_segment, "system:a", [".", "..", "a/b", "a%b"]),
    ],
)
def test_formats(rule: formats.Format, good: str, bad: list[str]) -> None:
    assert rule(good) == []
    assert [value for value in bad if not rule(value)] == []


@pytest.mark.parametrize(
    ("kind", "sent", "stored"),
    [
        (
            EVENT,
            {"count": 0, "type": "", "message": "m"},
            {
                "metadata": {},
                "involvedObject": {},
                "source": {},
                "message": "m",
                "eventTime": None,
                "firstTimestamp": None,
                "lastTimestamp": None,
                "reportingComponent": "",
                "reportingInstance": "",
            },
        ),
        (ROLE, {"rules": []}, {"metadata": {}, "rules": None}),
        (ROLE, {}, {"metadata": {}, "rules": None}),
        (
            POD,
            {
                "spec": {
                    "hostNetwork": False,
                    "priority": 0,
                    "nodeSelector": {},
                    "containers": [{"name": "c", "tty": False}],
                }
            },
            {"metadata": {}, "spec": {"priority": 0, "containers": [{"name": "c", "resources": {}}]}, "status": {}},
        ),
        (SECRET, {"data": {"b": "YQ==\n", "a": ""}, "unknown": 1}, {"metadata": {}, "data": {"a": "", "b": "YQ=="}}),
    ],
)
def test_empty_fields_are_gone_and_fields_that_are_never_empty_are_there(
    kind: Kind, sent: Object, stored: Object
) -> None:
    assert canonical(kind, sent) == stored


def test_what_is_canonical_stays() -> None:
    pod = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "0.5", "memory": 64}}}]}}
    once = with_builtin_defaults(POD, pod)
    assert once["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m", "memory": "64"}
    assert with_builtin_defaults(POD, once) == once
    assert pod["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "0.5", "memory": 64}}


@pytest.mark.parametrize(("kind", "field"), [(DEPLOYMENT, "replicas"), (STATEFUL_SET, "replicas"), (NODE, "")])
def test_defaults_can_be_filled_into_an_empty_object(kind: Kind, field: str) -> None:
    completed = with_builtin_defaults(kind, {})
    assert "status" in completed
    assert not field or completed["spec"][field] == 1


@pytest.mark.parametrize(
    ("kind", "sent", "problem"),
    [
        (POD, {"spec": {"overhead": {"cpu": "x"}}}, "cannot be handled as a Pod: quantities must match"),
        (EVENT, {"firstTimestamp": "x"}, "cannot be handled as a Event: parsing time"),
        (SECRET, {"data": {"a": "not base64!"}}, "illegal base64 data at input byte 3"),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(kind: Kind, sent: Object, problem: str) -> None:
    with pytest.raises(ApiFailure, match=problem) as caught:
        with_builtin_defaults(kind, sent)
    assert caught.value.code == 400


def test_a_client_is_warned_of_finalizers_that_it_adds_to_a_custom_resource() -> None:
    one, both = ({"metadata": {"finalizers": names}} for names in (["plain"], ["plain", "more", "a.b/c"]))
    [warning] = builtin_warnings(GPUUNIT, both, one)
    assert warning.startswith('metadata.finalizers: "more": prefer a domain-qualified finalizer name')
    assert len(builtin_warnings(GPUUNIT, one, None)) == 1
    assert builtin_warnings(LEASE, one, None) == builtin_warnings(CUSTOM_RESOURCE_DEFINITION, one, None) == []


@pytest.mark.parametrize(("kind", "problems"), [(ROLE, 1), (LEASE, 0)])
def test_which_kinds_have_finalizers_of_any_name(kind: Kind, problems: int) -> None:
    obj = sample(kind, "a", finalizers=["plain"])
    assert len([one for one in builtin_causes(kind, obj, None) if one.field == "metadata.finalizers[0]"]) == problems
