"""Argo Rollouts: its controller, and the scenarios of Rollout."""

from cluster import get, kubectl, patch
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


def phase(s):
    return rollout(s)["status"].get("phase")


def ready(s):
    """Returns how many pods are ready, by image."""
    found = {}
    for pod in kubectl("get", "pods", "--namespace", s.name, "--selector", "app=web", "--output",
                       'jsonpath={range .items[*]}{.spec.containers[0].image} {.status.conditions[?(@.type=="Ready")].status}{"\\n"}{end}').splitlines():
        image, is_ready = pod.split()
        if is_ready == "True":
            found[image] = found.get(image, 0) + 1
    return found


def all_of(container, replicas=3):
    return {container["image"]: replicas}


def healthy(s, container):
    return phase(s) == "Healthy" and ready(s) == all_of(container)


def sleep(s):
    asleep_in = s.sleep({"kind": "Rollout", "name": "web"})
    s.check(rollout(s)["spec"]["replicas"] == 0 and not ready(s), "spec.replicas is 0, and no pod is left")
    s.stays_asleep(asleep_in, lambda: not ready(s))


def canary(scene):
    """A Rollout that is Healthy."""
    s = scene
    s.create(manifest({"canary": {"steps": [{"setWeight": 34}, {"pause": {}}]}}))
    s.until("Healthy", lambda: healthy(s, OLD))
    sleep(s)
    s.woken("3 replicas, Healthy")
    s.check(healthy(s, OLD), "awake when its 3 replicas are ready; it is Healthy", phase(s), ready(s))


def in_the_middle(scene):
    """A Rollout that waits in a step of its canary comes back in that step."""
    s = scene
    s.create(manifest({"canary": {"steps": [{"setWeight": 34}, {"pause": {}}]}}))
    s.until("Healthy", lambda: healthy(s, OLD))
    update(s)
    both = {OLD["image"]: 2, NEW["image"]: 1}

    def waits():
        status = rollout(s)["status"]
        return status.get("phase") == "Paused" and status.get("currentStepIndex") == 1 and ready(s) == both

    s.until("the canary waits", waits)
    sleep(s)
    s.woken("waits in the same step of its canary; promoted, it is Healthy")
    status = rollout(s)["status"]
    s.check(waits(), "awake in the same step, with 1 pod of the canary and 2 stable ones", status.get("phase"), status.get("currentStepIndex"), ready(s))
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
    s.woken("3 active and 3 preview pods; waits for its promotion")
    s.until("both are ready", lambda: ready(s) == both, 60)
    s.check(phase(s) == "Paused", "awake with 3 active and 3 preview pods, and waits for its promotion", ready(s))
    promote(s)
    s.until("promoted", lambda: phase(s) == "Healthy", 60)
    s.check(rollout(s)["status"]["blueGreen"]["activeSelector"] == rollout(s)["status"]["currentPodHash"], "promoted, the new image is active")
