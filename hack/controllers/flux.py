"""The controllers of Flux: starts them, and hands them a project as examples/gitops/ says."""

from cluster import apply, condition, get, is_true
from git import Git, GitServer, example
from program import Program, account, free_port, install

# The kinds with finalizers of Flux.
KINDS = ("kustomizations.kustomize.toolkit.fluxcd.io", "helmreleases.helm.toolkit.fluxcd.io", "helmcharts.source.toolkit.fluxcd.io",
         "gitrepositories.source.toolkit.fluxcd.io")


class Controller:
    """A controller of Flux, with its definitions and a service account of its own."""

    def __init__(self, name, programs, scratch, *arguments):
        install(programs / name / "crds")
        config = account("flux-system", name, scratch)
        self.program = Program(
            name,
            [str(programs / name / name), "--watch-all-namespaces", "--log-encoding=json", "--metrics-addr=127.0.0.1:0",
             "--health-addr=127.0.0.1:0", "--events-addr=", *arguments],
            scratch, {"KUBECONFIG": config, "RUNTIME_NAMESPACE": "flux-system"},
        )

    def programs(self):
        return [self.program]

    def stop(self):
        self.program.stop()


class Sources(Controller):
    """source-controller, with one GitRepository for each project of Flux."""

    def __init__(self, programs, scratch):
        self.server = GitServer()
        artifacts, address = scratch / "artifacts", f"127.0.0.1:{free_port()}"
        artifacts.mkdir()
        super().__init__("source-controller", programs, scratch, "--concurrent=8", f"--storage-path={artifacts}", f"--storage-addr={address}",
                         f"--storage-adv-addr={address}")

    def commit(self, git, namespace, folders):
        """Commits to a repository. The first time, it becomes a GitRepository: source-controller looks for commits by itself."""
        git.commit(folders)
        name = git.path.name
        if not get("gitrepository", name, namespace):
            apply({
                "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": name, "namespace": namespace},
                "spec": {"interval": "5s", "url": self.server.url(name), "ref": {"branch": "main"}},
            })

    def stop(self):
        super().stop()
        self.server.stop()


class Flux(Controller):
    """kustomize-controller, with one Kustomization for each project."""

    name = "Flux"
    advice = "labelSelector: torpor.dev/held"  # in the message of a contest

    def __init__(self, programs, scratch, sources):
        super().__init__("kustomize-controller", programs, scratch, "--requeue-dependency=5s", "--concurrent=8")
        self.sources, self.git = sources, {}

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


class Helm(Controller):
    """helm-controller, with one HelmRelease for each project, whose chart is in Git. A commit makes it a higher version."""

    name = "a HelmRelease"
    advice = "spec.driftDetection.ignore"

    def __init__(self, programs, scratch, sources):
        super().__init__("helm-controller", programs, scratch)
        self.sources, self.git, self.numbers = sources, {}, {}

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
