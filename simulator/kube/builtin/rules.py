"""The rules for the built-in kinds: which of them hold for which kind.

The objects are complete (`with_builtin_defaults`) and prepared (`prepare_builtin_create`, `prepare_builtin_update`).
"""

from collections.abc import Callable
from typing import Final

from simulator.kube.builtin.access_rules import (
    cluster_role_binding_causes,
    cluster_role_causes,
    role_binding_causes,
    role_causes,
)
from simulator.kube.builtin.claim_rules import claim_causes
from simulator.kube.builtin.cluster_rules import budget_causes, lease_causes, namespace_causes, node_causes
from simulator.kube.builtin.content_rules import config_map_causes, secret_causes
from simulator.kube.builtin.event_rules import event_causes
from simulator.kube.builtin.metadata_rules import create_metadata_causes, update_metadata_causes
from simulator.kube.builtin.network_policy_rules import network_policy_causes
from simulator.kube.builtin.pod_rules import new_pod_causes
from simulator.kube.builtin.pod_update_rules import pod_update_causes
from simulator.kube.builtin.service_rules import service_causes
from simulator.kube.builtin.status_rules import status_causes
from simulator.kube.builtin.workload_rules import deployment_causes, replica_set_causes, stateful_set_causes
from simulator.kube.kinds import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    POD_DISRUPTION_BUDGET,
    REPLICA_SET,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    Kind,
    Object,
)
from simulator.kube.status import Cause


def builtin_causes(kind: Kind, new: Object, old: Object | None) -> list[Cause]:
    """What is wrong with an object that is to be created, or to replace `old`; its metadata included.

    For a kind without rules of its own, such as that of a CustomResourceDefinition, these are the rules for metadata.
    """
    rules = _RULES.get(kind)
    own = [] if rules is None else rules(new, old)
    if old is not None:
        return [*update_metadata_causes(kind, new["metadata"], old["metadata"]), *own]
    if kind in (EVENT, POD_DISRUPTION_BUDGET):  # these look at metadata last, if nothing else is wrong
        return own or create_metadata_causes(kind, new["metadata"])
    return [*create_metadata_causes(kind, new["metadata"]), *own]


def builtin_status_causes(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """What is wrong with an object that is to replace the status of `old`."""
    return [*update_metadata_causes(kind, new["metadata"], old["metadata"]), *status_causes(kind, new, old)]


def _pod_causes(new: Object, old: Object | None) -> list[Cause]:
    return new_pod_causes(new) if old is None else pod_update_causes(new, old)


_RULES: Final[dict[Kind, Callable[[Object, Object | None], list[Cause]]]] = {
    CLUSTER_ROLE: cluster_role_causes,
    CLUSTER_ROLE_BINDING: cluster_role_binding_causes,
    CONFIG_MAP: config_map_causes,
    DEPLOYMENT: deployment_causes,
    EVENT: event_causes,
    LEASE: lease_causes,
    NAMESPACE: namespace_causes,
    NETWORK_POLICY: network_policy_causes,
    NODE: node_causes,
    PERSISTENT_VOLUME_CLAIM: claim_causes,
    POD: _pod_causes,
    POD_DISRUPTION_BUDGET: budget_causes,
    REPLICA_SET: replica_set_causes,
    ROLE: role_causes,
    ROLE_BINDING: role_binding_causes,
    SECRET: secret_causes,
    SERVICE: service_causes,
    STATEFUL_SET: stateful_set_causes,
}
