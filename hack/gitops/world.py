"""What the scenarios see of their projects: watches, and who writes."""

import cluster
from cluster import Watch, kubectl

# Service accounts by the name that the table has for them.
SIDES = {
    "system:serviceaccount:flux-system:kustomize-controller": "tool",
    "system:serviceaccount:flux-system:helm-controller": "tool",
    "system:serviceaccount:argocd:argocd-application-controller": "tool",
    "system:serviceaccount:torpor-system:torpor": "torpor",
}
HELD = {("deployments", "web"), ("deployments", "plain"), ("statefulsets", "store"), ("daemonsets", "agent"), ("cronjobs", "nightly"),
        ("configmaps", "env")}


def clear(namespaces):
    """Deletes what a run before has left on a cluster that was kept. Its controllers are gone, so that nobody would remove a finalizer."""
    for kind in ("applications.argoproj.io", "kustomizations.kustomize.toolkit.fluxcd.io", "helmreleases.helm.toolkit.fluxcd.io",
                 "helmcharts.source.toolkit.fluxcd.io", "gitrepositories.source.toolkit.fluxcd.io"):
        for line in (kubectl("get", kind, "--all-namespaces", "--no-headers", check=False) or "").splitlines():
            namespace, name = line.split()[:2]
            if namespace not in namespaces and name not in namespaces and name.rpartition("-")[0] not in namespaces:
                continue
            kubectl("patch", kind, name, "--namespace", namespace, "--type", "merge", "--patch", '{"metadata": {"finalizers": null}}')
            kubectl("delete", kind, name, "--namespace", namespace, "--ignore-not-found", "--wait=false")
    kubectl("delete", "namespace", "--ignore-not-found", *namespaces)


class World:
    """What happens to the projects."""

    def __init__(self):
        self.watches = {kind: Watch(kind) for kind in ("deployments.apps", "pods", "hibernations.torpor.dev", "maintenancewindows.torpor.dev")}
        self.deployments, self.pods, self.hibernations, self.windows = self.watches.values()

    def stop(self):
        for watch in self.watches.values():
            watch.stop()

    def writes(self, namespace, began, ended):
        """Returns the writes of the GitOps tool and of Torpor to what is held, each as `VERB NAME`."""
        found = {"tool": [], "torpor": []}
        for event in cluster.writes(namespace, began, ended):
            about, side = event.get("objectRef", {}), SIDES.get(event["user"]["username"])
            if side and (about.get("resource"), about.get("name")) in HELD:
                found[side].append(f"{event['verb']} {about['name']}")
        return found

    def awake(self, namespace, began, ended):
        """Returns for how many seconds the Deployment web was not at 0."""
        seconds, up, since = 0.0, False, began
        for seen in self.deployments.of(namespace, "web"):
            if seen.time > ended:
                break
            if seen.time > began:
                seconds += (seen.time - since) if up else 0
                since = seen.time
            up = seen.type != "DELETED" and seen.object["spec"].get("replicas", 1) > 0
        return seconds + ((ended - since) if up else 0)

    def pods_started(self, namespace, began, ended):
        """Returns the names of the pods that were created."""
        return [s.object["metadata"]["name"] for s in self.pods.of(namespace) if s.type == "ADDED" and began < s.time <= ended]
