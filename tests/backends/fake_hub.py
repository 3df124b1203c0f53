"""A hub of models on this machine: what `huggingface_hub` asks when it downloads a model, and its faults."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """The models that it serves, and what it was asked."""

    models: dict[str, Path]  # id -> folder
    gated: set[str] = field(default_factory=set)
    broken: str = ""  # files whose transfer ends early, by the end of their name
    asked: list[str] = field(default_factory=list)
    endpoint: str = ""

    def sent(self, name: str) -> int:
        """Return how often a file was downloaded."""
        return sum(
            line.startswith("GET") and line.endswith(f"/resolve/{COMMIT}/{name}") for line in self.asked
        )


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the models of a hub, at `hub.endpoint`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            return

        def do_HEAD(self) -> None:
            self.answer(send=False)

        def do_GET(self) -> None:
            self.answer(send=True)

        def answer(self, send: bool) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                return self.about("/".join(parts[2:4]), parts[4:])
            repo, revision, name = "/".join(parts[:2]), parts[3:4], "/".join(parts[4:])
            file = hub.models.get(repo, Path("nowhere")) / name
            if revision != [COMMIT] or not file.is_file():
                return self.fail(404, "EntryNotFound")
            content = file.read_bytes()
            self.send_response(200)
            self.send_header("ETag", f'"{sha1(content).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if send and hub.broken and name.endswith(hub.broken):
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
            elif send:
                self.wfile.write(content)
            return None

        def about(self, repo: str, rest: list[str]) -> None:
            if repo in hub.gated:
                return self.fail(403, "GatedRepo")
            if repo not in hub.models:
                return self.fail(401, "RepoNotFound")
            if rest and rest[1] not in ("main", COMMIT):
                return self.fail(404, "RevisionNotFound")
            files = sorted(path for path in hub.models[repo].iterdir() if path.is_file())
            entries = [
                {
                    "type": "file", "path": path.name, "size": path.stat().st_size,
                    "oid": sha1(path.read_bytes()).hexdigest(),
                }
                for path in files
            ]  # fmt: skip
            described = {"id": repo, "sha": COMMIT, "siblings": [{"rfilename": path.name} for path in files]}
            text = json.dumps(entries if rest[:1] == ["tree"] else described).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            return None

        def fail(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Error-Message", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
