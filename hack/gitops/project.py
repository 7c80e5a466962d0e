"""The project that is in Git, and the Hibernation and the MaintenanceWindow for it."""

import datetime

IMAGES = {1: {"image": "localhost/pause:local"}, 2: {"image": "localhost/busybox:local", "command": ["sleep", "1000000"]}}


def workload(kind, name, version=1, pod=None, **spec):
    container = {"name": "main", "imagePullPolicy": "Never", **IMAGES[version]}
    pod = {"terminationGracePeriodSeconds": 0, "containers": [container], **(pod or {})}
    spec = {**spec, "selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}}, "spec": pod}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def files(replicas=3, version=1):
    """Returns the manifests: the Deployment web with replicas, the Deployment plain without, a StatefulSet, a DaemonSet with a node selector,
    a CronJob and a ConfigMap."""
    container = {"name": "main", "imagePullPolicy": "Never", **IMAGES[1]}
    job = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    cron = {"schedule": "0 3 1 1 *", "suspend": False, "jobTemplate": {"spec": job}}
    data = {"HIBERNATE_MODE": "false", "INGEST_ENABLED": "true", "OTHER": f"of version {version}"}
    return {
        "web.yaml": workload("Deployment", "web", version, **({} if replicas is None else {"replicas": replicas})),
        "plain.yaml": workload("Deployment", "plain", version),
        "store.yaml": workload("StatefulSet", "store", serviceName="store", replicas=2),
        "agent.yaml": workload("DaemonSet", "agent", pod={"nodeSelector": {"kubernetes.io/os": "linux"}}),
        "nightly.yaml": {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"}, "spec": cron},
        "env.yaml": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "env"}, "data": data},
    }


def hibernation(config_map="env"):
    spec = {
        "state": "Hibernated",
        "workloads": [{"kind": kind, "all": True} for kind in ("Deployment", "StatefulSet", "DaemonSet", "CronJob")],
        "configMaps": [{"name": config_map}],
    }
    return {"apiVersion": "torpor.dev/v1alpha1", "kind": "Hibernation", "metadata": {"name": "project"}, "spec": spec}


def window(start):
    spec = {"start": start, "duration": "10m", "workloads": [{"kind": "Deployment", "name": "plain"}]}
    return {"apiVersion": "torpor.dev/v1alpha1", "kind": "MaintenanceWindow", "metadata": {"name": "later"}, "spec": spec}


def settings(name, settings_):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": settings_}


def in_days(days):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
