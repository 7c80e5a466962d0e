"""The application controller and the repo server of Argo CD: starts them, and hands them a project as examples/gitops/ says."""

import json
import os
import subprocess

from cluster import Failed, apply, get, kubectl, patch, read_yaml
from git import EXAMPLES, Git, example
from program import Program, account, install


class Argo:
    """The application controller and the repo server of Argo CD, with one Application for each project."""

    name = "Argo CD"
    advice = "managedFieldsManagers: [torpor]"

    def __init__(self, programs, scratch):
        folder = programs / "argo-cd"
        config = account("argocd", "argocd-application-controller", scratch)
        install(folder / "crds")
        kubectl("apply", "--namespace", "argocd", "--filename", str(folder / "config"))
        patch("secret", "argocd-secret", "argocd", {"stringData": {"server.secretkey": "only-for-this-run"}})
        self.git = {}
        self.lua = str(folder / "argocd-lua")
        (settings,) = read_yaml((EXAMPLES / "argocd-cm.yaml").read_text(encoding="utf-8"))
        # This key holds for all Applications: a scenario of its own sets it.
        key = "resource.customizations.ignoreDifferences.all"
        self.for_all = {key: settings["data"][key]}
        patch("configmap", "argocd-cm", "argocd", {"data": {**settings["data"], key: None}})
        apply({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "default", "namespace": "argocd"},
            "spec": {"sourceRepos": ["*"], "destinations": [{"namespace": "*", "server": "*"}],
                     "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]},
        })
        redis = Program("redis", ["redis-server", "--bind", "127.0.0.1", "--port", "16379", "--save", "", "--appendonly", "no"], scratch)
        shared = {"KUBECONFIG": config, "ARGOCD_GPG_ENABLED": "false", "ARGOCD_FAKE_IN_CLUSTER": "true",
                  "PATH": f"{folder / 'scripts'}:{os.environ['PATH']}"}
        repository = Program(
            "argocd-repo-server",
            [str(folder / "argocd-repo-server"), "--redis", "127.0.0.1:16379", "--address", "127.0.0.1", "--port", "18081",
             "--metrics-address", "127.0.0.1", "--metrics-port", "18084", "--disable-tls", "--client-ca-path=", "--logformat", "json", "--revision-cache-expiration", "5s"],
            scratch, shared,
        )
        self.controller = Program(
            "argocd-application-controller",
            [str(folder / "argocd-application-controller"), "--kubeconfig", config, "--namespace", "argocd", "--redis", "127.0.0.1:16379",
             "--repo-server", "127.0.0.1:18081", "--repo-server-plaintext", "--metrics-port", "18082", "--logformat", "json",
             "--app-resync", "10", "--app-resync-jitter", "0", "--persist-resource-health"],
            scratch, {**shared, "ARGOCD_CONTROLLER_REPLICAS": "1"},
        )
        self.all = [redis, repository, self.controller]

    def commit(self, name, files):
        if name not in self.git:
            self.git[name] = Git(name)
        self.git[name].commit({name: files})
        if self.application(name):
            # What a webhook does after a push.
            kubectl("annotate", "application.argoproj.io", name, "--namespace", "argocd", "--overwrite", "argocd.argoproj.io/refresh=normal")

    def project(self, name, lines=True, server_side=False, server_side_diff=False):
        """Returns the Application of a project. `lines` are those of the example: all, none, or `for all`, where argocd-cm has the others."""
        (application,) = example("argocd-application.yaml", name)
        if lines is not True:
            del application["spec"]["ignoreDifferences"]
        if not lines:
            application["spec"]["syncPolicy"]["syncOptions"].remove("RespectIgnoreDifferences=true")
        if server_side:
            application["spec"]["syncPolicy"]["syncOptions"].append("ServerSideApply=true")
        if server_side_diff:
            application["metadata"]["annotations"] = {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}
        return application

    def deliver(self, name, **how):
        apply(self.project(name, **how))

    def ignore_for_all(self):
        patch("configmap", "argocd-cm", "argocd", {"data": self.for_all})

    def rounds(self, name):
        return self.controller.count('"Reconciliation completed"', f'"application":"{name}"')

    def application(self, name):
        return (get("application.argoproj.io", name, "argocd") or {}).get("status", {})

    def in_sync(self, name):
        status = self.application(name)
        sync = status.get("sync", {})
        return (sync.get("status"), sync.get("revision")) == ("Synced", self.git[name].head())

    def says(self, name):
        status = self.application(name)
        return f"{status.get('sync', {}).get('status')}, {status.get('health', {}).get('status')}"

    def health(self, name, kind):
        """Returns the health of the resources of a kind, by name."""
        return {r["name"]: r.get("health", {}).get("status") for r in self.application(name).get("resources", []) if r["kind"] == kind}

    def run_lua(self, object_, action=None):
        """Returns what the scripts of examples/gitops/argocd-cm.yaml make of an object, in Argo CD's own interpreter."""
        arguments = [self.lua, str(EXAMPLES / "argocd-cm.yaml"), *([action] if action else [])]
        run = subprocess.run(arguments, input=json.dumps(object_), capture_output=True, text=True)
        if run.returncode != 0:
            raise Failed(f"{' '.join(arguments)}: {run.stderr}")
        return json.loads(run.stdout)

    def programs(self):
        return self.all

    def stop(self):
        for program in reversed(self.all):
            program.stop()
