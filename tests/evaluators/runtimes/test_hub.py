"""Downloads, against a small double of the Hub on the loopback."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from evaluators.errors import BadModel
from evaluators.runtimes import hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"architectures": ["LlamaForCausalLM"]}',
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "modeling_evil.py": b"print('run')",
    "pytorch_model.bin": b"pickle",
    "nested/config.json": b"{}",
    "other.gguf": b"GGUF",
}
REPOSITORIES: dict[str, dict[str, bytes]] = {
    "good/model": FILES,
    "only/pickles": {"config.json": b"{}", "pytorch_model.bin": b"pickle"},
    "two/ggufs": {"a.gguf": b"GGUFa", "b.gguf": b"GGUFb", "README.md": b"hi"},
}


class Hub(BaseHTTPRequestHandler):
    """Speaks as much of the Hub's language as downloads need."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.server.seen.append(self.path)  # type: ignore[attr-defined]  # set by the fixture
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._model(
                "/".join(parts[2:4]), parts[5] if parts[5:] else "main", tree=parts[4:5] == ["tree"]
            )
        else:
            self._file("/".join(parts[:2]), "/".join(parts[4:]))

    def _model(self, name: str, revision: str, *, tree: bool) -> None:
        if name == "gated/model":
            return self._fail(403, "GatedRepo")
        if name == "broken/model":
            return self._fail(418, "")
        if name not in REPOSITORIES:
            return self._fail(404, "RepoNotFound")
        if revision not in {"main", "v1", COMMIT}:
            return self._fail(404, "RevisionNotFound")
        if tree:
            listed = [
                {
                    "type": "file",
                    "path": path,
                    "size": len(data),
                    "oid": hashlib.sha256(data).hexdigest()[:40],
                }
                for path, data in REPOSITORIES[name].items()
            ]
            return self._send(json.dumps(listed).encode())
        files = [
            {"rfilename": path, "size": len(data)} for path, data in REPOSITORIES[name].items()
        ]
        return self._send(json.dumps({"id": name, "sha": COMMIT, "siblings": files}).encode())

    def _file(self, name: str, path: str) -> None:
        data = REPOSITORIES[name][path]
        self._send(data, {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Repo-Commit": COMMIT})

    def _send(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)

    def _fail(self, status: int, code: str) -> None:
        self._send(b"{}", {"X-Error-Code": code}, status)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Keep quiet."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[list[str]]:
    """The paths that were asked for, while a double of the Hub is up."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        server.seen = []  # type: ignore[attr-defined]  # read by the handler
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield server.seen  # type: ignore[attr-defined]  # set above
        server.shutdown()
        thread.join()


class TestResolve:
    @pytest.mark.parametrize("revision", ["main", "v1", COMMIT])
    def test_returns_the_commit(self, seen: list[str], revision: str) -> None:
        assert hub.resolve("good/model", revision) == COMMIT

    @pytest.mark.parametrize(
        ("repository", "revision", "reason"),
        [
            ("no/body", "main", "no such public repository"),
            ("good/model", "v2", "no revision 'v2'"),
            ("gated/model", "main", "gated"),
            ("broken/model", "main", "answered 418"),
        ],
    )
    def test_refuses(self, seen: list[str], repository: str, revision: str, reason: str) -> None:
        with pytest.raises(BadModel) as caught:
            hub.resolve(repository, revision)
        assert reason in caught.value.data["reason"]
        assert caught.value.data["model"] == repository

    def test_refuses_when_the_hub_is_out_of_reach(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        with pytest.raises(BadModel, match=r"the Hub at http://127\.0\.0\.1:9 cannot be reached"):
            hub.resolve("good/model")

    @pytest.mark.parametrize("name", ["", "a/b/c", "../etc", "a b", "http://x/y", "a/..", "-x/é"])
    def test_refuses_names_that_are_none(self, name: str) -> None:
        with pytest.raises(BadModel, match="owner/name"):
            hub.resolve(name)


class TestFetch:
    def test_downloads_what_is_allowed_and_nothing_else(self, seen: list[str]) -> None:
        folder = hub.fetch("good/model", COMMIT)
        names = {path.name for path in folder.rglob("*") if path.is_file()}
        assert names == {"config.json", "model.safetensors", "tokenizer.json"}
        assert (folder / "model.safetensors").read_bytes() == b"weights"
        assert folder.name == COMMIT
        assert not [path for path in seen if "evil" in path or ".bin" in path or "nested" in path]

    def test_takes_the_gguf_that_was_asked_for(self, seen: list[str]) -> None:
        folder = hub.fetch("two/ggufs", COMMIT, gguf_file="b.gguf")
        assert {path.name for path in folder.iterdir()} == {"b.gguf"}

    @pytest.mark.parametrize(
        ("repository", "options", "reason"),
        [
            ("only/pickles", {}, "no safetensors or GGUF weights"),
            ("two/ggufs", {}, "several GGUF files, choose one with gguf_file=: a.gguf, b.gguf"),
            ("two/ggufs", {"gguf_file": "c.gguf"}, "no file 'c.gguf'"),
            ("good/model", {"max_bytes": 10}, "more than the 10 allowed"),
            ("no/body", {}, "no such public repository"),
        ],
    )
    def test_refuses(
        self, seen: list[str], repository: str, options: dict[str, object], reason: str
    ) -> None:
        with pytest.raises(BadModel) as caught:
            hub.fetch(repository, COMMIT, **options)  # type: ignore[arg-type]  # mixed keywords
        assert reason in caught.value.data["reason"]
        assert not [path for path in seen if "/resolve/" in path]

    def test_refuses_a_branch(self) -> None:
        with pytest.raises(BadModel, match="not a commit"):
            hub.fetch("good/model", "main")
