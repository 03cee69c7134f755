"""A double of the Hub and of GitHub's raw files on the loopback: real HTTP, files of a test's own.

    with stub_hub({"acme/sums": {"a" * 40: {"test.jsonl": b"..."}}}) as hub:
        os.environ["HF_ENDPOINT"] = hub.url

Data sets of the Hub are served as `huggingface_hub` asks for them, and the same files under
`/owner/name/revision/path` as GitHub serves them.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

Repositories: TypeAlias = "dict[str, dict[str, dict[str, bytes]]]"
"""Content by repository, revision and path."""


class StubHub(ThreadingHTTPServer):
    """The server; what it serves may be changed while it runs."""

    def __init__(self, repositories: Repositories) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories = repositories
        self.claims: dict[str, str] = {}
        """Revisions that are answered in the name of another commit."""
        self.asked: list[str] = []
        """Paths of all requests, in order."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def files(self, repository: str, revision: str) -> Mapping[str, bytes] | None:
        """Return the files of a repository at a revision; None where there are none."""
        return self.repositories.get(repository, {}).get(revision)


@contextmanager
def stub_hub(repositories: Repositories) -> Iterator[StubHub]:
    """Serve repositories while the block runs."""
    with StubHub(repositories) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: StubHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        match path.strip("/").split("/"):
            case ["api", "datasets", owner, name, "tree", revision, *_]:
                self._tree(f"{owner}/{name}", revision)
            case ["datasets", owner, name, "resolve", revision, *rest]:
                self._file(f"{owner}/{name}", revision, "/".join(rest))
            case [owner, name, revision, *rest]:
                self._file(f"{owner}/{name}", revision, "/".join(rest))
            case _:
                self._refuse("RepoNotFound")

    def _tree(self, repository: str, revision: str) -> None:
        files = self.server.files(repository, revision)
        if files is None:
            return self._refuse("RevisionNotFound")
        listed = [
            {"type": "file", "path": path, "size": len(content), "oid": _digest(content)[:40]}
            for path, content in files.items()
        ]
        return self._send(200, json.dumps(listed).encode(), {"Content-Type": "application/json"})

    def _file(self, repository: str, revision: str, path: str) -> None:
        files = self.server.files(repository, revision)
        if files is None:
            return self._refuse("RevisionNotFound")
        if path not in files:
            return self._refuse("EntryNotFound")
        commit = self.server.claims.get(revision, revision)
        headers = {"ETag": f'"{_digest(files[path])}"', "X-Repo-Commit": commit}
        return self._send(200, files[path], headers)

    def _refuse(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code})

    def _send(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep quiet."""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
