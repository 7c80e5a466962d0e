"""Argo Rollouts: its controller, and the scenarios of Rollout."""

import collections
import json

from cluster import condition, get, kubectl, patch
from program import Program, account, free_port, install
from scene import BUSYBOX, PAUSE, template

ACCOUNT = "system:serviceaccount:argo-rollouts:argo-rollouts"
KINDS = ("rollouts.argoproj.io",)
OLD, NEW = PAUSE, BUSYBOX


class Rollouts:
    def __init__(self, programs, scratch):
        folder = programs / "argo-rollouts"
        install(folder / "crds")
        config = account("argo-rollouts", "argo-rollouts", scratch)
        self.program = Program(
            "argo-rollouts",
            [str(folder / "rollouts-controller"), f"--kubeconfig={config}", "--leader-elect=false", "--logformat=json",
             f"--metricsPort={free_port()}", f"--healthzPort={free_port()}"],
            scratch, {"POD_NAMESPACE": "argo-rollouts"},
        )

    def programs(self):
        return [self.program]

    def stop(self):
        self.program.stop()


def manifest(strategy):
    """Returns a Rollout of 3 replicas."""
    spec = {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("web", OLD), "strategy": strategy}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "web"}, "spec": spec}


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}}


def rollout(s):
    return get("rollout.argoproj.io", "web", s.name)


def update(s):
    """Gives the Rollout another image."""
    containers = template("web", NEW)["spec"]["containers"]
    patch("rollout.argoproj.io", "web", s.name, {"spec": {"template": {"spec": {"containers": containers}}}})


def promote(s):
    """Ends the pause of a Rollout, as `kubectl argo rollouts promote` does."""
    patch("rollout.argoproj.io", "web", s.name, {"status": {"pauseConditions": None}}, "--subresource=status")


def status(s):
    return rollout(s).get("status", {})


def phase(s):
    return status(s).get("phase")


def ready(s):
    """Returns how many pods are ready, by image."""
    pods = json.loads(kubectl("get", "pods", "--namespace", s.name, "--selector", "app=web", "--output", "json"))["items"]
    return dict(collections.Counter(pod["spec"]["containers"][0]["image"] for pod in pods if condition(pod, "Ready").get("status") == "True"))


def all_of(container, replicas=3):
    return {container["image"]: replicas}


def healthy(s, container):
    return phase(s) == "Healthy" and ready(s) == all_of(container)


def sleep(s):
    s.sleep({"kind": "Rollout", "name": "web"})
    s.check(rollout(s)["spec"]["replicas"] == 0 and not ready(s), "spec.replicas is 0, and no pod is left")
    s.stays_asleep(lambda: not ready(s))


def canary(scene):
    """A Rollout that is Healthy."""
    s = scene
    s.create(manifest({"canary": {"steps": [{"setWeight": 34}, {"pause": {}}]}}))
    s.until("Healthy", lambda: healthy(s, OLD))
    sleep(s)
    s.wakes_as_before()
    s.check(healthy(s, OLD), "awake when its 3 replicas are ready; it is Healthy", phase(s), ready(s))


def in_the_middle(scene):
    """A Rollout that waits in a step of its canary comes back in that step."""
    s = scene
    s.create(manifest({"canary": {"steps": [{"setWeight": 34}, {"pause": {}}]}}))
    s.until("Healthy", lambda: healthy(s, OLD))
    update(s)
    both = {OLD["image"]: 2, NEW["image"]: 1}

    def waits():
        return phase(s) == "Paused" and status(s).get("currentStepIndex") == 1 and ready(s) == both

    s.until("the canary waits", waits)
    sleep(s)
    s.wakes_as_before()
    facts = [phase(s), status(s).get("currentStepIndex"), ready(s)]
    s.check(waits(), "awake in the same step, with 1 pod of the canary and 2 stable ones", *facts)
    promote(s)
    s.until("promoted", lambda: healthy(s, NEW), 60)
    s.check(healthy(s, NEW), "promoted, it is Healthy with the new image")


def blue_green(scene):
    """A Rollout with a preview that waits for its promotion comes back with both."""
    s = scene
    s.create(service("active"), service("preview"),
             manifest({"blueGreen": {"activeService": "active", "previewService": "preview", "autoPromotionEnabled": False}}))
    s.until("Healthy", lambda: healthy(s, OLD))
    update(s)
    both = {**all_of(OLD), **all_of(NEW)}
    s.until("the preview waits", lambda: phase(s) == "Paused" and ready(s) == both)
    sleep(s)
    s.wakes_as_before()
    s.until("both are ready", lambda: ready(s) == both, 60)
    s.check(phase(s) == "Paused", "awake with 3 active and 3 preview pods, and waits for its promotion", ready(s))
    promote(s)
    s.until("promoted", lambda: phase(s) == "Healthy", 60)
    s.check(status(s)["blueGreen"]["activeSelector"] == status(s)["currentPodHash"], "promoted, the new image is active")
