"""The recorded exchanges that the embedded API answers otherwise, and why; `docs/fidelity.md` shows this list."""

from tests.kube.replay.player import ExchangeKey

_RECORDER = "the recorder changed the answer before it wrote it down, to send it back in a later request"
_BUILD = "names the build of the server (commit, compiler, platform)"
_REVISION = "shows what the Deployment controller had written meanwhile; none runs in this test"
_FEWER_KINDS = "lists kinds that are not served"
_EVENTS_GROUP = "lists `events.k8s.io`, which is not served; Events are served as `v1`"
_INTERNAL_FORM = "ends with a comparison of the pods as JSON; the real one compares a form of its own"

_COST = "refuses a rule for what it might cost; the embedded API ends it when it has taken too long"
_INTERNAL_FORM_OF_CLAIMS = _INTERNAL_FORM.replace("pods", "claims")
_CLAIM_FINALIZER = "has a finalizer that a controller takes away again; there is none, nor any volume"
_FIELD_ORDER = "quotes the patched object, whose fields are in the order of the real server's types"

KNOWN_DIFFERENCES: dict[ExchangeKey, str] = {
    ("apply", "deployment", 4): _REVISION,
    ("cel", "compile-later", 1): "finds faults in literals before a rule is evaluated; here they are found then",
    ("cel", "compile-later", 2): "knows the types in a list of lists and in a map of lists before a rule is evaluated",
    ("cel", "cost", 1): _COST,
    ("cel", "cost", 2): _COST,
    ("cel", "cost", 3): _COST,
    ("cel", "other-words", 2): "says with other words why a rule cannot be evaluated, and splits a text by nothing",
    ("definitions", "stored", 9): "cannot read an object that is stored in a version that was taken away",
    ("delete", "grace", 10): "shows a condition of the scheduler; none runs in this test",
    ("discovery", "version", 1): _BUILD,
    ("discovery", "version", 4): "lists the parts of the server that were found healthy; the embedded one says `ok`",
    ("discovery", "legacy", 2): _EVENTS_GROUP,
    ("discovery", "legacy", 7): f"{_FEWER_KINDS}: DaemonSet, ControllerRevision",
    ("discovery", "aggregated", 1): f"{_FEWER_KINDS}: DaemonSet, ControllerRevision, Ingress, those of `events.k8s.io`",
    ("discovery", "aggregated", 3): _EVENTS_GROUP,
    ("errors", "auth", 5): _BUILD,
    ("errors", "media", 6): "is in protobuf, in which the embedded API does not answer: its 406 is in JSON",
    ("further-create", "access", 13): "is about a token for a service account; there are none",
    ("further-create", "claims", 1): _CLAIM_FINALIZER,
    ("further-patch", "subresources", 17): "is about resizing a pod; the embedded API cannot do that",
    ("further-patch", "deployment_merge", 11): _FIELD_ORDER,
    ("further-patch", "deployment_merge", 12): _FIELD_ORDER,
    ("further-update", "pods", 6): _INTERNAL_FORM,
    ("further-update", "pods", 7): _INTERNAL_FORM,
    ("further-update", "gated_pod", 4): _INTERNAL_FORM,
    ("further-update", "claims_nodes", 1): _CLAIM_FINALIZER,
    ("further-update", "claims_nodes", 2): _INTERNAL_FORM_OF_CLAIMS,
    ("further-update", "claims_nodes", 3): _INTERNAL_FORM_OF_CLAIMS,
    ("more-others", "more", 3): _CLAIM_FINALIZER,
    ("more-pods", "updates", 3): _INTERNAL_FORM,
    ("more-pods", "updates", 4): _INTERNAL_FORM,
    ("patch", "wrong_types", 10): _REVISION,
    ("read", "tables", 13): "lists a pod that controllers had made; none run in this test",
    ("update", "put_ok", 1): _RECORDER,
    ("update", "put_ok", 2): _RECORDER,
    ("update", "put_ok", 4): _RECORDER,
    ("update", "put_stale", 1): _RECORDER,
    ("update", "put_stale", 4): _RECORDER,
    ("update", "immutable", 4): _INTERNAL_FORM,
    ("update", "status_isolation", 1): _RECORDER,
    ("update", "status_isolation", 2): _RECORDER,
    ("update", "deployment_status_scale", 13): _REVISION,
    ("update", "deployment_status_scale", 14): _REVISION,
}
