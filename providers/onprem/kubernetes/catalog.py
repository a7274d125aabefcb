"""What there is for Kubernetes."""

from __future__ import annotations

from providers.catalog import Entry, Option, Part, Plane

_CLUSTER = (
    Option("kubeconfig", "a kubeconfig's path; left out: as for `kubectl`, or the pod's service account"),
    Option("context", "its context; left out: the current one"),
)
_PLANE = Plane("all", "", "the API server of the cluster that the context names, where you run it")
_PROVEN = "a server of ours; a real API server where its programs are at hand"

ENTRIES: tuple[Entry, ...] = (
    Entry(
        "kubernetes",
        Part.WORKLOAD,
        "providers.onprem.kubernetes.workload:KubernetesWorkload",
        "Replicas of a Deployment or StatefulSet, `namespace/deployment/name`; under an autoscaler its minimum.",
        (*_CLUSTER, Option("node_wait", "seconds that a pod may fit on no node before it is no capacity; 60")),
        planes=(_PLANE,),
        extra="kubernetes",
        proven=_PROVEN,
    ),
    Entry(
        "kubernetes",
        Part.DRAIN,
        "providers.onprem.kubernetes.drain:KubernetesDrain",
        "Requests in flight in its pods, by the model servers' own metrics.",
        (
            *_CLUSTER,
            Option("metrics", "`http://{pod}:8000/metrics`, or `:8000/metrics` through the API server"),
        ),
        planes=(_PLANE,),
        extra="kubernetes",
        proven=_PROVEN,
    ),
)
