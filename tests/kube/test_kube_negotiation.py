"""In which form a client gets its answer, for what it accepts."""

import pytest

from simulator.kube.negotiation import JSON, YAML, Form, negotiate, negotiate_watch
from simulator.kube.status import ApiFailure

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form()),
        ("*/*", Form()),
        ("application/*", Form()),
        ("text/html,application/xml;q=0.9,*/*;q=0.8", Form()),
        ("application/json;stream=watch", Form()),
        ("application/json;pretty=1", Form(pretty=True)),
        ("application/yaml", Form(YAML)),
        ("application/json;q=0.1,application/yaml", Form(YAML)),
        ("application/vnd.kubernetes.protobuf,application/json", Form()),
        (TABLE, Form(shape="Table")),
        (f"{TABLE},application/json", Form(shape="Table")),
        ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", Form(JSON, "Table", "v1beta1")),
        ("application/yaml;as=Table;v=v1;g=meta.k8s.io", Form(YAML, "Table")),
        ("application/json;as=Foo;v=v1;g=meta.k8s.io,application/json", Form()),
        ("application/json; as=PartialObjectMetadata; v=v1; g=meta.k8s.io", Form(shape="PartialObjectMetadata")),
    ],
)
def test_the_best_form_that_there_is(accept: str, form: Form) -> None:
    assert negotiate(accept) == form


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "application/vnd.kubernetes.protobuf",
        "application/json;as=Table",
        "application/json;v=v1;g=meta.k8s.io",
        "application/json;as=Table;v=v9;g=meta.k8s.io",
        "application/json;as=Foo;v=v1;g=meta.k8s.io",
        "application/json;stream=foo",
        "application/yaml;stream=watch",
        "application/json;sv=1",
        "nonsense",
    ],
)
def test_a_form_that_there_is_not(accept: str) -> None:
    with pytest.raises(ApiFailure, match="only the following media types are accepted: application/json, ") as failure:
        negotiate(accept)
    assert failure.value.code == 406


def test_a_watch_is_not_written_in_yaml() -> None:
    assert negotiate_watch(TABLE) == Form(shape="Table")
    with pytest.raises(ApiFailure, match="application/json;stream=watch, application/vnd"):
        negotiate_watch("application/yaml")
