"""CloudNativePG: its operator, and a database that sleeps after the truncation."""

import json

from cluster import Failed, apply, condition, get, kubectl
from scene import deployment

ACCOUNT = "system:serviceaccount:cnpg-system:cnpg-manager"
KINDS = ("clusters.postgresql.cnpg.io",)
OPERATOR, POSTGRESQL = "localhost/cloudnative-pg:local", "localhost/postgresql:15"
HIBERNATION = "cnpg.io/hibernation"


class CloudNativePg:
    """The operator. It runs in a pod: the pods of a database copy its program from its image."""

    def __init__(self, programs):
        text = (programs / "cloudnative-pg" / "install.yaml").read_text(encoding="utf-8")
        version = "ghcr.io/cloudnative-pg/cloudnative-pg:"
        released = version + text.split(version)[1].split()[0]
        text = text.replace(released, OPERATOR).replace("imagePullPolicy: Always", "imagePullPolicy: Never")
        # With a tenth of a core it starts for half a minute.
        text = text.replace("            cpu: 100m\n            memory: 200Mi", "            memory: 200Mi")
        kubectl("apply", "--server-side", "--force-conflicts", "--filename", "-", stdin=text)
        kubectl("rollout", "restart", "deployment/cnpg-controller-manager", "--namespace", "cnpg-system")
        kubectl("rollout", "status", "deployment/cnpg-controller-manager", "--namespace", "cnpg-system", "--timeout", "110s")

    def programs(self):
        return []

    def stop(self):
        pass


def volume(s, name):
    """Creates a volume for a database: a folder of the node that the user of PostgreSQL owns."""
    path = f"/var/lib/torpor-{s.name}/{name}"
    chown = {
        "containers": [{"name": "main", "image": "localhost/busybox:local", "imagePullPolicy": "Never",
                        "command": ["sh", "-c", "rm -rf /data/* && chown 26:26 /data && chmod 700 /data"],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "restartPolicy": "Never", "volumes": [{"name": "data", "hostPath": {"path": path, "type": "DirectoryOrCreate"}}],
    }
    job = f"prepare-{name}"
    apply({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": job}, "spec": {"template": {"spec": chown}}}, namespace=s.name)
    kubectl("wait", f"job/{job}", "--namespace", s.name, "--for", "condition=Complete", "--timeout", "100s")
    kubectl("delete", "persistentvolume", f"{s.name}-{name}", "--ignore-not-found")
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": s.name,
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": path}}
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{s.name}-{name}"}, "spec": spec})


def cluster(s):
    return get("cluster.postgresql.cnpg.io", "db", s.name)


def ready(s, instances):
    status = (cluster(s) or {}).get("status", {})
    return status.get("readyInstances") == instances and status.get("phase") == "Cluster in healthy state"


def sql(s, text):
    """Runs SQL as the role that owns the tables, and returns the rows."""
    primary = cluster(s)["status"]["currentPrimary"]
    return kubectl("exec", primary, "--namespace", s.name, "--container", "postgres", "--", "psql", "--no-psqlrc", "--quiet", "--tuples-only",
                   "--no-align", "--set", "ON_ERROR_STOP=1", "--command", "SET ROLE app", "--command", text, "app").split()


def rows(s):
    """Returns how many rows the two tables have."""
    return sql(s, "SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM users)")


def truncated_before_pods_went(s):
    """Returns whether the truncation had succeeded before a pod of the database was asked to end."""
    jobs = [seen.time for seen in s.seen.jobs.of(s.name) if condition(seen.object, "Complete").get("status") == "True"
            and seen.object["metadata"].get("labels", {}).get("app.kubernetes.io/managed-by") == "torpor"]
    ends = [seen.time for seen in s.seen.pods.of(s.name) if seen.object["metadata"].get("labels", {}).get("cnpg.io/podRole") == "instance"
            and "deletionTimestamp" in seen.object["metadata"]]
    return bool(jobs and ends) and min(jobs) < min(ends)


def pods(s):
    return kubectl("get", "pods", "--namespace", s.name, "--selector", "cnpg.io/cluster=db", "--output", "name").split()


def created(s, instances):
    """Creates a database. The webhook of the operator may not answer yet."""
    spec = {"instances": instances, "imageName": POSTGRESQL, "storage": {"size": "1Gi", "storageClass": s.name},
            "bootstrap": {"initdb": {"database": "app", "owner": "app"}}}
    try:
        apply({"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "db"}, "spec": spec}, namespace=s.name)
    except Failed:
        return False
    return True


def sleeps_after_the_truncation(scene, instances=2):
    s = scene
    s.create(deployment("worker", 2))
    for number in range(instances):
        volume(s, str(number))
    s.until("the database is created", lambda: created(s, instances))
    s.until("the database is ready", lambda: ready(s, instances), 300)
    sql(s, "CREATE TABLE runs (id serial PRIMARY KEY); CREATE TABLE users (id serial PRIMARY KEY); "
           "INSERT INTO runs SELECT generate_series(1, 10); INSERT INTO users SELECT generate_series(1, 7)")
    s.check(rows(s) == ["10|7"], "two tables have 10 and 7 rows before", rows(s))
    claims = volumes(s)
    s.sleep(
        {"kind": "Deployment", "name": "worker"}, {"kind": "Cluster", "name": "db", "stage": 3},
        database={"secretRef": {"name": "db-app", "key": "uri"},
                  "truncate": {"scope": "Runtime", "beforeStage": 3, "tables": {"runtime": ["runs"], "opportunities": [], "preserved": ["users"]}}})
    done = condition(s.hibernation(), "Truncated")
    s.check(done.get("status") == "True", "the Hibernation says Truncated", done.get("message"))
    s.check(truncated_before_pods_went(s), "the truncation comes before the end of the database's pods")
    told = condition(cluster(s), HIBERNATION)
    s.check(told.get("status") == "True" and not pods(s), "CloudNativePG says that it hibernates, and no pod of it is left", told.get("message"))
    s.stays_asleep(lambda: not pods(s))
    s.check(volumes(s) == claims, "the volumes stay", json.dumps(claims))
    s.wakes_as_before()
    s.check(cluster(s)["status"].get("readyInstances") == instances, f"awake when its {instances} instances are ready")
    s.check(rows(s) == ["0|7"], "the runtime table is empty, the other one has its rows", rows(s))
    s.check(s.replicas("worker") == 2, "the worker is back")


def volumes(s):
    output = kubectl("get", "persistentvolumeclaims", "--namespace", s.name, "--output", "json")
    return sorted((claim["metadata"]["name"], claim["metadata"]["uid"]) for claim in json.loads(output)["items"])
