"""The GitOps tools: starts them, and hands them a project as examples/gitops/ says."""

import json
import os
import pathlib
import re
import socket
import subprocess

from git import Git, GitServer
from world import Failed, apply, condition, get, is_true, kubectl, patch, read_yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "gitops"


def example(file, name, interval="10s"):
    """Returns the objects of a file of examples/gitops for a project of this name, with a source of its own and a short interval."""
    text = (EXAMPLES / file).read_text(encoding="utf-8").replace("cornice", name)
    text = re.sub(r"interval: \w+", f"interval: {interval}", text).replace("name: fleet", f"name: {name}")
    return read_yaml(text.replace("https://git.example/fleet.git", f"file://{Git.folder / name}"))


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
    kubectl("wait", "--for", "condition=Established", "--timeout", "100s", "--filename", str(crds))


class Sources:
    """source-controller, with one GitRepository for each project of Flux."""

    def __init__(self, programs, scratch):
        install(programs / "source-controller" / "crds")
        config = account("flux-system", "source-controller", scratch)
        self.server = GitServer()
        artifacts, address = scratch / "artifacts", f"127.0.0.1:{free_port()}"
        artifacts.mkdir()
        self.program = Program(
            "source-controller",
            [str(programs / "source-controller" / "source-controller"), "--watch-all-namespaces", "--log-encoding=json",
             "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--events-addr=", "--concurrent=8",
             f"--storage-path={artifacts}", f"--storage-addr={address}", f"--storage-adv-addr={address}"],
            scratch, {"KUBECONFIG": config, "RUNTIME_NAMESPACE": "flux-system"},
        )

    def commit(self, git, namespace, folders):
        """Commits to a repository. The first time, it becomes a GitRepository: source-controller looks for commits by itself."""
        git.commit(folders)
        name = git.path.name
        if not get("gitrepository", name, namespace):
            apply({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name, "namespace": namespace},
                "spec": {"interval": "5s", "url": self.server.url(name), "ref": {"branch": "main"}},
            })

    def programs(self):
        return [self.program]

    def stop(self):
        self.program.stop()
        self.server.stop()


class Flux:
    """kustomize-controller, with one Kustomization for each project."""

    name = "Flux"
    advice = "labelSelector: torpor.dev/held"  # in the message of a contest

    def __init__(self, programs, scratch, sources):
        install(programs / "kustomize-controller" / "crds")
        config = account("flux-system", "kustomize-controller", scratch)
        self.sources, self.git = sources, {}
        self.program = Program(
            "kustomize-controller",
            [str(programs / "kustomize-controller" / "kustomize-controller"), "--watch-all-namespaces", "--log-encoding=json",
             "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--events-addr=", "--requeue-dependency=5s", "--concurrent=8"],
            scratch, {"KUBECONFIG": config, "RUNTIME_NAMESPACE": "flux-system"},
        )

    def commit(self, name, files=None, **others):
        """Commits the files of a project, and of the folders NAME-KEY beside it."""
        folders = {f"{name}-{key}": content for key, content in others.items()}
        if files is not None:
            folders[name] = files
        if name not in self.git:
            self.git[name] = Git(name)
        self.sources.commit(self.git[name], "flux-system", folders)

    def project(self, name, lines=True):
        """Returns the Kustomization of a project, and that of its Hibernation."""
        project, hibernation = example("flux-kustomization.yaml", name)
        if not lines:
            del project["spec"]["ignore"]
        return project, hibernation

    def deliver(self, name, lines=True, server_side=False):
        del server_side  # It always applies server-side.
        apply(self.project(name, lines)[0])

    def rounds(self, name):
        return self.program.count('"Reconciliation finished', f'"name":"{name}","namespace":"flux-system"')

    def in_sync(self, name, beside=""):
        """Returns whether the Kustomization, or one beside it whose name ends with `beside`, has the last commit and is Ready."""
        kustomization = get("kustomization", name + beside, "flux-system")
        return is_true(kustomization, "Ready") and kustomization["status"].get("lastAppliedRevision", "").endswith(self.git[name].head())

    def says(self, name):
        return f"Ready={condition(get('kustomization', name, 'flux-system'), 'Ready').get('status')}"

    def programs(self):
        return [self.program]

    def stop(self):
        self.program.stop()


class Helm:
    """helm-controller, with one HelmRelease for each project, whose chart is in Git. A commit makes it a higher version."""

    name = "a HelmRelease"
    advice = "spec.driftDetection.ignore"

    def __init__(self, programs, scratch, sources):
        self.sources, self.git, self.numbers = sources, {}, {}
        install(programs / "helm-controller" / "crds")
        config = account("flux-system", "helm-controller", scratch)
        self.program = Program(
            "helm-controller",
            [str(programs / "helm-controller" / "helm-controller"), "--watch-all-namespaces", "--log-encoding=json",
             "--metrics-addr=127.0.0.1:0", "--health-addr=127.0.0.1:0", "--events-addr="],
            scratch, {"KUBECONFIG": config, "RUNTIME_NAMESPACE": "flux-system"},
        )

    def commit(self, name, files):
        """Makes a chart of the files, and commits it."""
        if name not in self.git:
            self.git[name], self.numbers[name] = Git(name), 0
        self.numbers[name] += 1
        chart = {"Chart.yaml": {"apiVersion": "v2", "name": name, "version": self.version(name)}}
        self.sources.commit(self.git[name], name, {name: {**chart, **{f"templates/{file}": object_ for file, object_ in files.items()}}})

    def version(self, name):
        return f"0.{self.numbers[name]}.0"

    def deliver(self, name, lines=True, server_side=False):
        del server_side
        # Now and then it corrects twice in a row, which with 10 s would be more than the six times a minute that Torpor reverts at once.
        (release,) = example("flux-helmrelease.yaml", name, interval="15s")
        release["spec"]["chart"]["spec"]["sourceRef"] = {"kind": "GitRepository", "name": name}
        if not lines:
            del release["spec"]["driftDetection"]["ignore"]
        apply(release)

    def rounds(self, name):
        # It logs each look for drift, whether there is any or not.
        return self.program.count(f'"name":"{name}","namespace":"{name}"', "release in-sync with desired state") + self.program.count(
            f'"name":"{name}","namespace":"{name}"', "detected changes")

    def in_sync(self, name):
        release = get("helmrelease", name, name)
        return is_true(release, "Ready") and release["status"]["history"][0]["chartVersion"] == self.version(name)

    def says(self, name):
        return f"Ready={condition(get('helmrelease', name, name), 'Ready').get('status')}"

    def programs(self):
        return [self.program]

    def stop(self):
        self.program.stop()


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
