"""The MLflow store: where it is, whether it can take runs now, and a client of it.

A store that cannot take runs raises `StoreFault` with a one-line reason. A sqlite file is checked before
MLflow opens it: MLflow starts to migrate a database of another version unasked, and retries a file that it
cannot open for minutes. mlflow is imported when a store is opened.
"""

import logging
import os
import re
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROBE_S = 5
"""Seconds after which a store that does not answer counts as down."""
LOCK_S = 60
"""Seconds to wait for another process that creates the same database."""
PATIENCE = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
"""Variables of MLflow that are set unless the user has set them; its defaults retry for 4 minutes."""
SQLITE = re.compile(r"^(sqlite[^:]*:///)([^?]*)(.*)$")
PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
REASONS = {
    "Connection refused": "connection refused",
    "timed out": f"no answer within {PROBE_S} s",
    "timeout": f"no answer within {PROBE_S} s",
    "Name or service not known": "no such host",
    "Failed to resolve": "no such host",
    "unsupported URI": "MLflow has no store of the kind that MLFLOW_TRACKING_URI names; set it to"
    " sqlite:///mlflow.db, or to the address of a server, http://host:port",
    "MLFLOW_ALLOW_FILE_STORE": "MLflow stores runs in a folder only with MLFLOW_ALLOW_FILE_STORE=true; "
    "or set MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
}
"""Part of an error message -> what is shown instead of its pages."""


class StoreFault(Exception):
    """The store cannot take runs now; the text says why, in one line."""


def home_of(root: Path) -> Path:
    """Return the user's own workspace, also inside the copies below `.dvc/tmp/exps` that experiments run in.

    >>> home_of(Path("/srv/project/.dvc/tmp/exps/standalone/tmpx")).as_posix()
    '/srv/project'
    """
    parts = root.parts
    for i in range(len(parts) - 2):
        if parts[i : i + 3] == (".dvc", "tmp", "exps"):
            return Path(*parts[:i])
    return root


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the sqlite database of the user's workspace.

    A relative path in it is taken from the user's own workspace, also in the copy of a queued experiment.
    """
    home = home_of(root.resolve())
    given = os.environ.get("MLFLOW_TRACKING_URI", "")
    return absolute(given, home) if given else f"sqlite:///{home}/mlflow.db"


def absolute(uri: str, home: Path) -> str:
    """Return a tracking URI with its path, if it has a relative one, taken from `home`.

    >>> absolute("sqlite:///mlflow.db", Path("/srv")), absolute("./mlruns", Path("/srv"))
    ('sqlite:////srv/mlflow.db', '/srv/mlruns')
    >>> absolute("file:mlruns", Path("/srv")), absolute("http://host:5000", Path("/srv"))
    ('file:///srv/mlruns', 'http://host:5000')
    """
    database = SQLITE.match(uri)
    if database:
        start, path, options = database.groups()
        return uri if _is_no_path(path) else f"{start}{home / path}{options}"
    if uri.startswith("file:") and not uri.startswith("file:/"):
        return (home / uri.removeprefix("file:")).as_uri()
    is_path = ":" not in uri and uri not in ("databricks", "databricks-uc", "uc")
    return str(home / uri) if is_path else uri


def _is_no_path(path: str) -> bool:
    """Return whether what a sqlite URI names is not the plain path of a file.

    >>> _is_no_path(":memory:"), _is_no_path("file:runs.db"), _is_no_path("runs.db")
    (True, True, False)
    """
    return path in ("", ":memory:") or path.startswith("file:")


def shown(uri: str) -> str:
    """Return a URI without user and password, to print and to store.

    >>> shown("postgresql://me:secret@host/runs")
    'postgresql://host/runs'
    """
    return re.sub(r"://[^/@]*@", "://", uri)


def database_of(uri: str) -> Path | None:
    """Return the file of a sqlite store, None for any other store."""
    match = SQLITE.match(uri)
    return None if match is None or _is_no_path(match.group(2)) else Path(match.group(2))


def connect(root: Path) -> "MlflowClient":
    """Return a client of the store after it has answered; a missing sqlite database is created under a lock.

    Raises:
        StoreFault: the store cannot take runs now.
    """
    uri = tracking_uri(root)
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    refuse_unfit(uri)
    with faults_as_reasons():
        from mlflow import MlflowClient

        for name in ("alembic", "mlflow", "mlflow.store.db.utils"):  # they report the creation of tables
            logging.getLogger(name).setLevel(logging.WARNING)
        with _brief(), store_lock(uri):
            try:
                client = MlflowClient(tracking_uri=uri)
                client.search_experiments(max_results=1)
            except ValueError as error:  # an option or a port that is no number
                raise StoreFault(reason_of(error)) from None
    return client


def refuse_unfit(uri: str) -> None:
    """Return if nothing speaks against opening the store; takes `PROBE_S` seconds at most.

    Raises:
        StoreFault: a sqlite file is locked, read-only, or of another program or version of MLflow; the store
            is no file; the host of a database does not answer; the URI cannot be read.
    """
    database = database_of(uri)
    if database is not None:
        _refuse_database(database)
        return
    if uri.startswith("sqlite"):
        raise StoreFault(f"{uri} names no file that stays; set MLFLOW_TRACKING_URI=sqlite:///mlflow.db")
    try:
        parts = urlsplit(uri)
        port = PORTS.get(parts.scheme.partition("+")[0])
        if port is not None and parts.hostname:
            socket.create_connection((parts.hostname, parts.port or port), PROBE_S).close()
    except (OSError, ValueError) as error:
        raise StoreFault(reason_of(error)) from None


def _refuse_database(path: Path) -> None:
    """Refuse a file that sqlite cannot write now, or that MLflow must not open."""
    if not path.exists():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreFault(f"{path} cannot be created: {error.strerror}") from None
        if not os.access(path.parent, os.W_OK):
            raise StoreFault(f"{path} cannot be created: its folder is read-only")
        return
    try:
        with closing(sqlite3.connect(path, timeout=PROBE_S, isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("ROLLBACK")
            has_tables = database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.Error as error:
        raise StoreFault(f"{path}: {error}") from None
    for needed in (path, path.parent):  # sqlite writes a journal beside the file
        if not os.access(needed, os.W_OK):
            raise StoreFault(f"{needed} is read-only")
    if has_tables:
        _refuse_schema(path)


def _refuse_schema(path: Path) -> None:
    """Refuse a database that the installed MLflow would migrate or fail on."""
    from importlib.metadata import version

    import mlflow.store
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(Path(mlflow.store.__path__[0]) / "db_migrations"))
    with closing(sqlite3.connect(path, timeout=PROBE_S)) as database:
        try:
            (revision,) = database.execute("SELECT version_num FROM alembic_version").fetchone()
        except (sqlite3.Error, TypeError):
            raise StoreFault(f"{path} is a database of another program; move it away") from None
    if revision == script.get_current_head():
        return
    known = {entry.revision for entry in script.walk_revisions()}
    installed = f"the installed MLflow {version('mlflow')}"
    if revision in known:
        raise StoreFault(
            f"{path} is of an older MLflow than {installed}: copy the file, then `mlflow db upgrade"
            f" sqlite:///{path}`"
        )
    raise StoreFault(f"{path} is of a newer MLflow than {installed}: install that one, or move the file away")


def store_lock(uri: str) -> FileLock:
    """Return the lock under which a store is changed as a whole: its creation, its experiment.

    Two processes that create a sqlite database at the same time leave it corrupt.
    """
    from tempfile import gettempdir

    database = database_of(uri)
    path = f"{database}.lock" if database is not None else str(Path(gettempdir()) / "moodlens-mlflow.lock")
    return FileLock(path, timeout=LOCK_S)


@contextmanager
def faults_as_reasons() -> Iterator[None]:
    """Turn what MLflow, its database and its transports raise into `StoreFault`.

    sqlite3.Error comes from `store.experiment`, which opens the file itself; ImportError is the driver of a
    store that is not installed.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        raise StoreFault(reason_of(error)) from error


def reason_of(error: Exception) -> str:
    """Return one line on an error, at most 200 characters.

    >>> reason_of(OSError("HTTPConnectionPool(...): Max retries exceeded (... Connection refused')"))
    'connection refused'
    """
    text = str(error) or type(error).__name__
    known = (short for part, short in REASONS.items() if part in text)
    return next(known, shown(" ".join(text.split()))[:200])


@contextmanager
def _brief() -> Iterator[None]:
    """Let MLflow wait `PROBE_S` seconds for one answer, without a retry."""
    brief = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": str(PROBE_S)}
    before = {name: os.environ[name] for name in brief}
    os.environ.update(brief)
    try:
        yield
    finally:
        os.environ.update(before)
