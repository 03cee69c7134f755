"""Fetches single files of data sets at a commit, from the Hugging Face Hub or from GitHub."""

from __future__ import annotations

import fnmatch
import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlsplit

from evaluators.errors import BadFile

MOST_BYTES = 256 * 2**20
"""A data set of solutions is a few megabytes; more than this is something else."""

PATIENCE = 60.0
"""Seconds without a byte after which a server is given up."""

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def fetch_from_hub(repository: str, revision: str, pattern: str, *, cache: Path) -> Path:
    """Return a file of a data set's repository on the Hub, from its cache where it is there.

    Args:
        repository: Such as `owner/name`.
        revision: The commit.
        pattern: The file's path, or a pattern that only one of its files fits.
        cache: Folder in which the Hub's files are kept.

    Raises:
        BadFile: No file or several fit, or the Hub serves another commit.
        OSError: The Hub cannot be reached, or has no such repository or commit.
    """
    from huggingface_hub import HfApi, hf_hub_download

    path, endpoint = pattern, os.environ.get("HF_ENDPOINT")
    if set(pattern) & set("*?["):
        api = HfApi(endpoint=endpoint)
        listed = api.list_repo_files(repository, revision=revision, repo_type="dataset")
        found = sorted(fnmatch.filter(listed, pattern))
        if len(found) != 1:
            shown = ", ".join(found[:5]) or "none"
            reason = f"of the files at {revision}, {len(found)} fit {pattern!r}: {shown}"
            raise BadFile(path=repository, line=None, reason=reason)
        path = found[0]
    got = Path(
        hf_hub_download(
            repository, path, revision=revision, repo_type="dataset", cache_dir=cache,
            endpoint=endpoint,
        )
    )  # fmt: skip
    if revision not in got.parts:
        served = got.parts[got.parts.index("snapshots") + 1] if "snapshots" in got.parts else "?"
        reason = f"{path}: the Hub serves commit {served} in place of {revision}"
        raise BadFile(path=repository, line=None, reason=reason)
    return got


def fetch_from_github(
    endpoint: str, repository: str, revision: str, path: str, *, to: Path
) -> Path:
    """Return a file of a GitHub repository, which is kept at `to` and fetched once.

    Raises:
        BadFile: The address is no https address, or the file is too large.
        OSError: It cannot be reached or is not there.
    """
    if to.is_file():
        return to
    parts = urlsplit(endpoint)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise BadFile(path=endpoint, line=None, reason="is no https address")
    url = f"{endpoint.rstrip('/')}/{repository}/{revision}/{quote(path)}"
    to.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=to.parent, suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_got(url))
        part.replace(to)
    finally:
        part.unlink(missing_ok=True)
    return to


def _got(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as reply:  # noqa: S310 - the scheme was checked
            content: bytes = reply.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            raise ConnectionError(f"{url}: {error.code} {error.reason}") from error
    if len(content) > MOST_BYTES:
        raise BadFile(path=url, line=None, reason=f"is larger than {MOST_BYTES} bytes")
    return content
