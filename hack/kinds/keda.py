"""KEDA: its operator, its metrics adapter, and the scenarios of ScaledObject and ScaledJob."""

import subprocess
import time

from cluster import apply, condition, get, kubectl
from program import Program, account, free_port, host_address, install
from scene import BUSYBOX, deployment, hibernation, pod

ACCOUNT = "system:serviceaccount:keda:keda-operator"
KINDS = ("scaledobjects.keda.sh", "scaledjobs.keda.sh")
REPLICAS = "autoscaling.keda.sh/paused-replicas"
PAUSED = "autoscaling.keda.sh/paused"
METRICS = "v1beta1.external.metrics.k8s.io"
PORT = 18443  # of the adapter


def certificates(folder, name):
    """Creates a certificate for the operator and the adapter, which trust each other by it."""
    folder.mkdir()
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", f"/CN={name}",
         "-addext", f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1", "-keyout", str(folder / "tls.key"), "-out", str(folder / "tls.crt")],
        check=True, capture_output=True,
    )
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())


def forget_metrics():
    """Deletes the APIService of the adapter. While an APIService has no server, no namespace can be deleted."""
    kubectl("delete", "apiservice", METRICS, "--ignore-not-found")


class Keda:
    """The operator, and the adapter that HorizontalPodAutoscalers ask for metrics by way of the API server."""

    def __init__(self, programs, scratch):
        folder, service = programs / "keda", "keda-metrics-apiserver"
        install(folder / "crds")
        config, certs = account("keda", "keda-operator", scratch), scratch / "keda-certs"
        certificates(certs, f"{service}.keda.svc")
        grpc = f"127.0.0.1:{free_port()}"
        environment = {"KUBECONFIG": config, "WATCH_NAMESPACE": "", "POD_NAMESPACE": "keda", "KEDA_CLUSTER_OBJECT_NAMESPACE": "keda"}
        operator = Program(
            "keda-operator",
            [str(folder / "operator"), "--enable-prometheus-metrics=false", "--health-probe-bind-address=0", f"--cert-dir={certs}",
             f"--metrics-service-bind-address={grpc}", "--zap-encoder=json"],
            scratch, environment,
        )
        adapter = Program(
            "keda-adapter",
            [str(folder / "adapter"), f"--secure-port={PORT}", f"--port={free_port()}", f"--metrics-service-address={grpc}",
             f"--cert-dir={certs}", f"--client-ca-file={certs / 'ca.crt'}", f"--tls-cert-file={certs / 'tls.crt'}",
             f"--tls-private-key-file={certs / 'tls.key'}", f"--lister-kubeconfig={config}", f"--authentication-kubeconfig={config}",
             f"--authorization-kubeconfig={config}"],
            scratch, environment,
        )
        self.all = [operator, adapter]
        apply(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": service, "namespace": "keda"},
             "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
             "metadata": {"name": service, "namespace": "keda", "labels": {"kubernetes.io/service-name": service}},
             "endpoints": [{"addresses": [host_address()]}], "ports": [{"name": "https", "port": PORT}]},
            {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": METRICS},
             "spec": {"service": {"name": service, "namespace": "keda"}, "group": "external.metrics.k8s.io", "version": "v1beta1",
                      "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": True}},
        )
        kubectl("create", "clusterrolebinding", "keda-metrics", "--clusterrole", "cluster-admin",
                "--serviceaccount", "kube-system:horizontal-pod-autoscaler", check=False)
        kubectl("wait", f"apiservice/{METRICS}", "--for", "condition=Available", "--timeout", "100s")

    def programs(self):
        return self.all

    def stop(self):
        forget_metrics()
        for program in reversed(self.all):
            program.stop()


def scaled_object(name, target, annotations=None, replicas=3):
    """Returns a ScaledObject that wants replicas all year but in its last minute."""
    trigger = {"timezone": "Etc/UTC", "start": "0 0 1 1 *", "end": "59 23 31 12 *", "desiredReplicas": str(replicas)}
    spec = {
        "scaleTargetRef": {"name": target}, "pollingInterval": 5, "cooldownPeriod": 5, "minReplicaCount": 0, "maxReplicaCount": 5,
        "triggers": [{"type": "cron", "metadata": trigger}],
    }
    metadata = {"name": name, "annotations": annotations or {}}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": metadata, "spec": spec}


def paused(s, kind, name):
    return s.condition(kind, name, "Paused") == "True"


def autoscaler(s):
    return get("horizontalpodautoscaler", "keda-hpa-worker", s.name)


def scales(scene):
    """A ScaledObject takes its target to 0 and back."""
    s = scene
    s.create(deployment("worker"), scaled_object("worker", "worker"))
    s.until("KEDA scales the target", lambda: s.replicas("worker") == 3, 180)
    s.check(autoscaler(s), "KEDA and its HorizontalPodAutoscaler scale the target to 3 before")
    apply(hibernation({"kind": "Deployment", "name": "worker"}, state="Awake"), namespace=s.name)
    s.until("ScaledBy is said", lambda: condition(s.hibernation(), "Stalled").get("reason") == "ScaledBy")
    s.check(s.replicas("worker") == 3, "a spec that names the target has the reason ScaledBy while awake", condition(s.hibernation(), "Stalled")["message"])
    s.sleep({"kind": "ScaledObject", "name": "worker"})
    s.check(paused(s, "scaledobject", "worker"), "KEDA says Paused")
    s.check(s.replicas("worker") == 0 and not autoscaler(s), "the target is at 0, and KEDA has deleted the HorizontalPodAutoscaler")
    held = get("deployment", "worker", s.name)["metadata"].get("labels", {})
    s.check("torpor.dev/held" not in held, "Torpor does not hold the target itself")
    s.stays_asleep(lambda: s.replicas("worker") == 0)
    since = s.wakes_as_before()
    s.until("KEDA scales the target again", lambda: s.replicas("worker") == 3, 120)
    s.check(autoscaler(s) and not paused(s, "scaledobject", "worker"), "KEDA scales the target to 3 again", s.rise(since, "worker"))


def rested(scene):
    """ScaledObjects that were paused already come back as they were."""
    s = scene
    s.create(deployment("two"), scaled_object("two", "two", {REPLICAS: "2"}),
             deployment("none"), scaled_object("none", "none", {REPLICAS: "0"}))
    s.until("KEDA has scaled both", lambda: s.replicas("two") == 2 and s.replicas("none") == 0, 120)
    s.sleep({"kind": "ScaledObject", "name": "two"}, {"kind": "ScaledObject", "name": "none"})
    s.check(s.replicas("two") == 0 and s.replicas("none") == 0, "both targets are at 0")
    s.stays_asleep(lambda: s.replicas("two") == 0 and s.replicas("none") == 0)
    s.wakes_as_before()
    s.until("KEDA scales to 2", lambda: s.replicas("two") == 2, 60)
    s.check(paused(s, "scaledobject", "two") and s.replicas("two") == 2, "the one that was paused at 2 is paused at 2 again")
    s.check(paused(s, "scaledobject", "none") and s.replicas("none") == 0, "the one that was paused at 0 stays at 0")


def refused(scene):
    """A ScaledObject that is paused at the replicas of the moment is not held."""
    s = scene
    s.create(deployment("worker", 2), scaled_object("worker", "worker", {PAUSED: "true"}))
    s.until("KEDA says Paused", lambda: paused(s, "scaledobject", "worker"))
    apply(hibernation({"kind": "ScaledObject", "name": "worker"}), namespace=s.name)
    s.until("it is refused", lambda: condition(s.hibernation(), "Stalled").get("reason") == "PausedOtherwise")
    said = condition(s.hibernation(), "Stalled")["message"]
    s.check(s.replicas("worker") == 2, "a ScaledObject with `paused: true` is refused, and its target runs on", said)
    s.sleep({"kind": "Deployment", "name": "worker"})
    s.check(s.replicas("worker") == 0, "its target, named instead, sleeps")
    s.stays_asleep(lambda: s.replicas("worker") == 0)
    s.wakes_as_before(writes_again=False)
    s.check(s.replicas("worker") == 2 and paused(s, "scaledobject", "worker"), "the target is at 2 again, and KEDA leaves it alone")


def scaled_job(name, queue, annotations=None):
    """Returns a ScaledJob that runs a Job of 15 s for each pod of a queue."""
    job = {"backoffLimit": 0, "template": {"spec": pod({**BUSYBOX, "command": ["sleep", "15"]}, restartPolicy="Never")}}
    trigger = {"type": "kubernetes-workload", "metadata": {"podSelector": f"app={queue}", "value": "1"}}
    spec = {"jobTargetRef": job, "pollingInterval": 5, "maxReplicaCount": 2, "triggers": [trigger]}
    metadata = {"name": name, "annotations": annotations or {}}
    return {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledJob", "metadata": metadata, "spec": spec}


def jobs(s, of):
    """Returns the Jobs of a ScaledJob that were seen, as they were last, with the time of their creation."""
    last = {}
    for seen in s.seen.jobs.of(s.name):
        name = seen.object["metadata"]["name"]
        if seen.object["metadata"]["labels"].get("scaledjob.keda.sh/name") == of:
            last[name] = (last.get(name, (seen.time,))[0], seen)
    return last


def is_complete(seen):
    return seen.type != "DELETED" and condition(seen.object, "Complete").get("status") == "True"


def runs_jobs(scene):
    """A ScaledJob starts no Jobs while asleep, and those that run are waited for."""
    s = scene
    s.create(deployment("queue", 2), scaled_job("worker", "queue"), scaled_job("rests", "queue", {PAUSED: "true"}))

    def running():
        return [name for name, (_, seen) in jobs(s, "worker").items() if seen.type != "DELETED" and seen.object.get("status", {}).get("active")]

    s.until("two Jobs run", lambda: len(running()) == 2 and paused(s, "scaledjob", "rests"))
    began, found = time.time(), running()
    s.sleep({"kind": "ScaledJob", "name": "worker"}, {"kind": "ScaledJob", "name": "rests"})
    asleep = time.time()
    s.check(paused(s, "scaledjob", "worker"), "KEDA says Paused")
    all_ = jobs(s, "worker")
    s.check(found and all(is_complete(all_[name][1]) for name in found), "Jobs that ran when the project went to sleep have completed", *found)
    unfinished = [name for name, (_, seen) in all_.items() if not is_complete(seen)]
    s.check(not unfinished and asleep > began + 5, "asleep when no Job runs", *unfinished)
    s.stays_asleep()
    late = [name for name, (created, _) in jobs(s, "worker").items() if created > asleep]
    s.check(not late, "no Job is created while asleep, though the queue has pods", *late)
    since = s.wakes_as_before()
    s.until("Jobs run again", lambda: any(created > since for created, _ in jobs(s, "worker").values()))
    s.check(not jobs(s, "rests") and paused(s, "scaledjob", "rests"), "a ScaledJob that was paused already stays so")
