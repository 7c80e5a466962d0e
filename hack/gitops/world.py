"""What the scenarios see of their projects: watches, and who writes."""

import cluster
from cluster import Watches

# Service accounts by the name that the table has for them.
SIDES = {
    "system:serviceaccount:flux-system:kustomize-controller": "tool",
    "system:serviceaccount:flux-system:helm-controller": "tool",
    "system:serviceaccount:argocd:argocd-application-controller": "tool",
    "system:serviceaccount:torpor-system:torpor": "torpor",
}
HELD = {("deployments", "web"), ("deployments", "plain"), ("statefulsets", "store"), ("daemonsets", "agent"), ("cronjobs", "nightly"),
        ("configmaps", "env")}


class World(Watches):
    """What happens to the projects."""

    def __init__(self):
        super().__init__(deployments="deployments.apps", pods="pods", hibernations="hibernations.torpor.dev", windows="maintenancewindows.torpor.dev")

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
