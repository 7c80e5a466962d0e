"""Starts the programs of controllers on this machine, with what they need on the cluster."""

import json
import os
import socket
import subprocess
import time

from cluster import Failed, apply, kubectl


class Program:
    """A process of a tool. It writes a log of JSON lines."""

    def __init__(self, name, arguments, scratch, environment=None):
        self.name, self.log = name, scratch / f"{name}.log"
        home = scratch / f"{name}.home"
        home.mkdir()
        own = {"HOME": str(home), "TMPDIR": str(home), **(environment or {})}
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=home, env={**os.environ, **own}
            )

    def count(self, *needles):
        """Returns how many lines of the log have all these texts."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return sum(all(needle in line for needle in needles) for line in log)

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def free_port():
    """Returns a port of the loopback address that nothing listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def host_address():
    """Returns the address of this machine on the cluster's network, where pods and the API server reach it."""
    output = subprocess.run(["ip", "-json", "route", "get", api_server()], check=True, capture_output=True, text=True).stdout
    return json.loads(output)[0]["prefsrc"]


def api_server():
    """Returns the address of the API server."""
    url = kubectl("config", "view", "--minify", "--output", "jsonpath={.clusters[0].cluster.server}")
    return url.split("//")[1].rsplit(":", 1)[0]


def account(namespace, name, scratch):
    """Creates a service account that may do everything, and returns a kubeconfig for it: the audit log knows writes by it."""
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{namespace}-{name}"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        },
    )
    config = json.loads(kubectl("config", "view", "--raw", "--flatten", "--output", "json"))
    token = kubectl("create", "token", name, "--namespace", namespace, "--duration", "12h").strip()
    for user in config["users"]:
        user["user"] = {"token": token}
    path = scratch / f"{name}.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config), encoding="utf-8")
    return str(path)


def install(crds):
    """Creates the CRDs of a folder, and waits until the API server serves them."""
    kubectl("apply", "--server-side", "--filename", str(crds))
    end = time.time() + 100
    # It also fails at once, where a CRD has no conditions yet.
    while kubectl("wait", "--for", "condition=Established", "--timeout", "10s", "--filename", str(crds), check=False) is None:
        if time.time() > end:
            raise Failed(f"{crds}: not served within 100 s")
        time.sleep(0.5)
