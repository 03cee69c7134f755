"""A TCP proxy before PostgreSQL that swallows the acknowledgement of some commits."""

from __future__ import annotations

import random
import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit, urlunsplit

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
"""A simple query as the wire has it: psycopg ends its transactions with one."""

PORT = 5432


class FaultProxy:
    """Passes everything on; now and then the client never hears that its commit went through.

    Args:
        url: The real database.
        share: How many of the commits are swallowed.
        seed: Decides which.
    """

    def __init__(self, url: str, *, share: float, seed: int) -> None:
        self.commits = 0
        self.swallowed = 0
        self._url = urlsplit(url)
        self._share = share
        self._chance = random.Random(seed)  # noqa: S311 - seeded on purpose
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The database behind the proxy."""
        host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        netloc = f"{self._url.netloc.rpartition('@')[0]}@{host}"
        plain = "sslmode=disable&gssencmode=disable"  # what is encrypted cannot be swallowed
        return urlunsplit(self._url._replace(netloc=netloc, query=plain))

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):  # closed
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                swallow = threading.Event()
                for work in (self._upstream, self._downstream):
                    threading.Thread(
                        target=work, args=(client, server, swallow), daemon=True
                    ).start()

    def _connect(self) -> socket.socket:
        folder = parse_qs(self._url.query).get("host", [""])[0]
        if not folder:
            return socket.create_connection((self._url.hostname, self._url.port or PORT))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{folder}/.s.PGSQL.{self._url.port or PORT}")
        return server

    def _upstream(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if data.endswith(COMMIT) and self._chosen():
                    swallow.set()
                server.sendall(data)
        _close(server)

    def _downstream(
        self, client: socket.socket, server: socket.socket, swallow: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if swallow.is_set():  # the server has answered, so it has committed
                    break
                client.sendall(data)
        _close(client)
        _close(server)

    def _chosen(self) -> bool:
        with self._lock:
            self.commits += 1
            chosen = self._chance.random() < self._share
            self.swallowed += chosen
            return chosen


def _close(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
