"""The Git repositories of the projects, and the server that hands them to Flux."""

import http.server
import json
import os
import pathlib
import re
import shutil
import subprocess
import threading

from cluster import read_yaml

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "examples" / "gitops"

class Git:
    """A local Git repository for each project: a commit to one is no sync of another."""

    folder = None  # of all of them

    def __init__(self, name):
        self.path = self.folder / name
        self.path.mkdir(parents=True)
        self.run("init", "--quiet", "--initial-branch", "main")

    def run(self, *arguments):
        settings = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.com", "-c", "gc.auto=0"]
        run = subprocess.run(["git", *settings, "-C", str(self.path), *arguments], check=True, capture_output=True, text=True)
        return run.stdout.strip()

    def commit(self, folders):
        """Makes these files the contents of folders."""
        for folder, files in folders.items():
            shutil.rmtree(self.path / folder, ignore_errors=True)
            for name, content in files.items():
                file = self.path / folder / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        self.run("add", "--all")
        self.run("commit", "--quiet", "--message", "next")

    def head(self):
        return self.run("rev-parse", "HEAD")


def example(file, name, interval="10s"):
    """Returns the objects of a file of examples/gitops for a project of this name, with a source of its own and a short interval."""
    text = (EXAMPLES / file).read_text(encoding="utf-8").replace("cornice", name)
    text = re.sub(r"interval: \w+", f"interval: {interval}", text).replace("name: fleet", f"name: {name}")
    return read_yaml(text.replace("https://git.example/fleet.git", f"file://{Git.folder / name}"))


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers a request of a Git client with `git http-backend`, the CGI program of Git itself."""

    def answer(self):
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length", 0))
        environment = {
            **os.environ, "GIT_PROJECT_ROOT": str(Git.folder), "GIT_HTTP_EXPORT_ALL": "1", "REQUEST_METHOD": self.command, "PATH_INFO": path,
            "QUERY_STRING": query, "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(length),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""), "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        run = subprocess.run(["git", "http-backend"], input=self.rfile.read(length), env=environment, capture_output=True)
        head, _, body = run.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]) if head else 500)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


class GitServer:
    """Serves all repositories over HTTP on the loopback address: source-controller reads no files."""

    def __init__(self):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def url(self, name):
        return f"http://127.0.0.1:{self.server.server_port}/{name}"

    def stop(self):
        self.server.shutdown()
