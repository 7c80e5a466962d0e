"""What scenarios see of the cluster: kubectl, watches, conditions, and the audit log of the API server."""

import calendar
import collections
import json
import os
import subprocess
import threading
import time

WRITES = {"create", "update", "patch", "delete"}


class Failed(Exception):
    """A scenario cannot go on."""


def kubectl(*arguments, stdin=None, check=True):
    """Runs kubectl and returns its output."""
    run = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, timeout=120)
    if check and run.returncode != 0:
        raise Failed(f"kubectl {' '.join(arguments)}: {run.stderr.strip()}")
    return run.stdout if run.returncode == 0 else None


def get(kind, name, namespace):
    """Returns an object, or None if it does not exist."""
    text = kubectl("get", kind, name, "--namespace", namespace, "--output", "json", "--show-managed-fields", check=False)
    return json.loads(text) if text else None


def apply(*objects, namespace=None):
    """Creates or changes objects as a person does, with kubectl apply."""
    where = ["--namespace", namespace] if namespace else []
    kubectl("apply", *where, "--filename", "-", stdin="\n---\n".join(map(json.dumps, objects)))


def patch(kind, name, namespace, change, *options, manager="kubectl-patch"):
    """Changes an object as a person does, with kubectl patch."""
    where = ["--namespace", namespace, "--field-manager", manager, *options]
    kubectl("patch", kind, name, *where, "--type", "merge", "--patch", json.dumps(change))


def read_yaml(text):
    """Returns the documents of a YAML file. kubectl reads them: Python has no YAML of its own."""
    output = kubectl("create", "--dry-run=client", "--validate=false", "--output", "json", "--filename", "-", stdin=text)
    return list(decode(output))


def decode(text):
    """Yields the JSON documents of a text."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        yield document


def clear(kinds, namespaces):
    """Deletes what a run before has left on a cluster that was kept. Its controllers are gone, so that nobody would remove a finalizer."""
    for kind in kinds:
        for line in (kubectl("get", kind, "--all-namespaces", "--no-headers", check=False) or "").splitlines():
            namespace, name = line.split()[:2]
            if namespace not in namespaces and name not in namespaces and name.rpartition("-")[0] not in namespaces:
                continue
            kubectl("patch", kind, name, "--namespace", namespace, "--type", "merge", "--patch", '{"metadata": {"finalizers": null}}')
            kubectl("delete", kind, name, "--namespace", namespace, "--ignore-not-found", "--wait=false")
    kubectl("delete", "namespace", "--ignore-not-found", *namespaces)


def condition(object_, type_):
    """Returns a condition of an object, or an empty one."""
    for found in ((object_ or {}).get("status") or {}).get("conditions", []):
        if found["type"] == type_:
            return found
    return {}


def is_true(object_, type_):
    """Returns whether a condition is True for the present generation."""
    status = (object_ or {}).get("status") or {}
    current = status.get("observedGeneration", object_ and object_["metadata"].get("generation"))
    return bool(object_) and current == object_["metadata"].get("generation") and condition(object_, type_).get("status") == "True"


Seen = collections.namedtuple("Seen", "time type object")


class Watch:
    """Follows all objects of a kind. What it has seen stays, with the time."""

    def __init__(self, kind):
        self.kind, self.seen, self.lock = kind, collections.defaultdict(list), threading.Lock()
        self.process = subprocess.Popen(
            ["kubectl", "get", kind, "--all-namespaces", "--watch", "--output-watch-events", "--output", "json", "--show-managed-fields"],
            stdout=subprocess.PIPE, text=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            namespace = event["object"]["metadata"].get("namespace")
            with self.lock:
                self.seen[namespace].append(Seen(time.time(), event["type"], event["object"]))

    def of(self, namespace, name=None):
        """Returns what was seen in a namespace, of one object or of all."""
        with self.lock:
            seen = list(self.seen[namespace])
        return [s for s in seen if name in (None, s.object["metadata"]["name"])]

    def last(self, namespace, name):
        """Returns the object as last seen, or None."""
        seen = self.of(namespace, name)
        return seen[-1].object if seen and seen[-1].type != "DELETED" else None

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Watches:
    """Watches of kinds, each an attribute of the name that it is given by."""

    def __init__(self, **kinds):
        self.watches = {name: Watch(kind) for name, kind in kinds.items()}
        vars(self).update(self.watches)

    def stop(self):
        for watch in self.watches.values():
            watch.stop()


def writes(namespace, began, ended):
    """Yields the events of the audit log of the API server that are successful writes in a namespace. It has the writes that change nothing,
    too."""
    with open(os.environ["TORPOR_AUDIT_LOG"], encoding="utf-8") as log:
        for line in log:
            if f'"namespace":"{namespace}"' not in line or '"dryRun=' in line or "dryRun=All" in line:
                continue
            try:
                event = json.loads(line)
            except ValueError:  # The line is being written.
                continue
            if event["verb"] in WRITES and event.get("responseStatus", {}).get("code", 0) < 300 and (
                    began <= parse(event["requestReceivedTimestamp"]) <= ended):
                yield event


def parse(timestamp):
    """Returns the seconds of a timestamp of the API server, with or without a fraction."""
    whole, _, fraction = timestamp.rstrip("Z").partition(".")
    seconds = calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S"))
    return seconds + (float("0." + fraction) if fraction else 0.0)
