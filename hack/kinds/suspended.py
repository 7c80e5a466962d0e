"""The scenarios of Flux: a Kustomization or a HelmRelease is suspended with what it deploys."""

from cluster import apply, get, is_true, kubectl
from scene import BUSYBOX, PAUSE, deployment

ACCOUNTS = {name: f"system:serviceaccount:flux-system:{name}" for name in ("kustomize-controller", "helm-controller")}


def image(s):
    found = s.seen.deployments.last(s.name, "web")
    return found and found["spec"]["template"]["spec"]["containers"][0]["image"]


def files(replicas=3, container=None):
    return {"web.yaml": deployment("web", replicas, container or PAUSE)}


def ready(s):
    status = (s.seen.deployments.last(s.name, "web") or {}).get("status", {})
    return s.replicas() and status.get("readyReplicas") == s.replicas()


def fetched(s, namespace):
    """Returns whether source-controller has the last commit."""
    revision = get("gitrepository", s.name, namespace)["status"]["artifact"]["revision"]
    return revision.endswith(s.tool.git[s.name].head())


def sleeps(s, kind, namespace, *others):
    """Suspends what deploys the Deployment, and others of the kind, then takes it down, and wakes all. Then it does so again, and a commit is
    made meanwhile."""
    entries = [{"kind": kind, "name": name} for name in (s.name, *others)] + [{"kind": "Deployment", "name": "web", "stage": 1}]
    s.sleep(*entries)
    s.check(get(kind, s.name, s.name)["spec"]["suspend"] is True and s.replicas() == 0, "suspended, and the Deployment is at 0")
    s.stays_asleep(lambda: s.replicas() == 0)
    s.wakes_as_before(writes_again=False)  # It corrects nothing: all is as in Git.
    s.until("ready", lambda: ready(s))

    s.sleep(*entries)
    s.tool.commit(s.name, files(5, BUSYBOX))
    s.until("source-controller has the commit", lambda: fetched(s, namespace))
    s.stays_asleep(lambda: s.replicas() == 0 and image(s) == PAUSE["image"])
    since = s.wake()
    s.until("the commit arrives", lambda: s.replicas() == 5 and image(s) == BUSYBOX["image"] and ready(s))
    s.check(s.written(since), "the commit arrives after the wake", *s.written(since))
    s.check(s.rise(since).startswith("3 after"), "the wake restores the replicas of before, and then the commit arrives", s.rise(since))


def kustomization(scene):
    s = scene
    kubectl("create", "namespace", s.name)
    s.tool.commit(s.name, files())
    source = {"kind": "GitRepository", "name": s.name, "namespace": "flux-system"}
    for name, suspend in ((s.name, {}), ("rests", {"suspend": True})):
        spec = {"interval": "5s", "path": f"./{s.name}", "prune": True, "sourceRef": source, "targetNamespace": s.name, **suspend}
        metadata = {"name": name, "namespace": s.name}
        apply({"apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization", "metadata": metadata, "spec": spec})
    s.until("Flux has deployed it", lambda: ready(s) and is_true(get("kustomization", s.name, s.name), "Ready"))
    sleeps(s, "Kustomization", "flux-system", "rests")
    s.check(get("kustomization", "rests", s.name)["spec"]["suspend"] is True, "a Kustomization that was suspended already stays so")


def helm_release(scene):
    s = scene
    kubectl("create", "namespace", s.name)
    s.tool.commit(s.name, files())
    s.tool.deliver(s.name, lines=False)
    s.until("Flux has deployed it", lambda: ready(s) and s.tool.in_sync(s.name))
    sleeps(s, "HelmRelease", s.name)
