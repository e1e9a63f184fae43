"""MLflow's store where it is a file of SQLite: how it is addressed, and what state it is in."""

import importlib.util
import os
import re
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from filelock import BaseFileLock, FileLock

from cf.core import paths
from cf.core.errors import InputError

SCHEME = "sqlite:///"
PLAIN = re.compile(r"[\w/\\:. -]*")  # a path that is the same when it is escaped and when it is not
REVISION = re.compile(r'^(down_)?revision\b[^=\n]*= *["\'](\w+)["\']', re.M)
PATIENCE_S = 20.0  # for whoever writes
LOCK_MODE = 0o666  # there is nothing in it, and all who share the folder may take it


def own_lock(folder: Path) -> BaseFileLock:
    """The lock of a project's own store, which is in `folder`."""
    return FileLock(folder / ".lock")


def shared_lock(database: Path) -> BaseFileLock:
    """The lock of a store that several projects share."""
    return FileLock(f"{database}.lock", mode=LOCK_MODE)


def uri(database: Path) -> str:
    """The address by which MLflow opens a database.

    SQLAlchemy's versions differ in what they make of `%` and `?`, so where the absolute path has
    such characters it is the one from the current folder, which has them not.

    Raises:
        InputError: both have.
    """
    absolute = database.absolute()
    relative = Path(os.path.relpath(absolute))
    for path in (absolute, relative):
        if PLAIN.fullmatch(str(path)):
            return f"{SCHEME}{path}"
    raise InputError(
        f"{absolute}: MLflow cannot open a path with such characters from {Path.cwd()}. Change to "
        f"the folder {absolute.parent.parent}, or give it a plainer name."
    )


def shared(address: str) -> Path | None:
    """The file that a tracking URI of SQLite names; None for any other URI.

    A relative path is one from the project, also where an experiment of DVC runs elsewhere.

    Raises:
        InputError: the URI names no file, or one that needs escaping.
    """
    if not address.startswith("sqlite:"):
        return None
    path = address.removeprefix(SCHEME)
    if not path or path == address or not PLAIN.fullmatch(path):
        raise InputError(
            f"MLFLOW_TRACKING_URI is {address}: expected sqlite:/// and the path of a file, of "
            "letters, digits, spaces and ._-:/ only."
        )
    return Path(os.environ.get("DVC_ROOT", "."), path).absolute()


def explain_deleted(experiment: str, number: str, is_own: bool) -> str:
    """What is wrong with an experiment that was deleted in MLflow, and the two ways out."""
    where = f"MLFLOW_TRACKING_URI={SCHEME}{paths.STORE} " if is_own else ""
    return (
        f"the experiment {experiment} was deleted in MLflow. Restore it: `{where}mlflow "
        f"experiments restore --experiment-id {number}`; or give tracking.experiment in "
        f"{paths.PARAMS} another name."
    )


def prepare(database: Path, is_own: bool) -> None:
    """Make a store where there is none, and migrate the project's own if an older MLflow made it.

    Its lock must be held. A copy of it as it was stays beside it.

    Raises:
        InputError: the database cannot be opened and written, a newer MLflow made it, or an older
            one made it and it is not the project's own.
    """
    if not database.exists():
        create(database)
        return
    found, (newest, known) = revision(database), revisions()
    if found in ("", newest):
        return
    if found not in known:
        raise InputError(
            f"{database}: a newer MLflow made this store (its schema is {found}). Install that "
            "version, or move the file away: `make sync` then makes a new one from runs/."
        )
    if not is_own:
        raise InputError(
            f"{database}: an older MLflow made this store. Whoever owns it types, after a backup: "
            f"mlflow db upgrade {SCHEME}{database}"
        )
    migrate(database, database.with_name(f"{database.stem}-{found}.db"))


def revision(database: Path) -> str:
    """The migration that a database is at; empty where MLflow has made no tables in it.

    Raises:
        InputError: it cannot be opened and written.
    """
    try:
        with closing(sqlite3.connect(database, timeout=PATIENCE_S)) as connection:
            connection.execute("BEGIN IMMEDIATE")  # as a write begins, which it is not
            tables = "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
            if not connection.execute(tables).fetchone():
                return ""
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{database}: {error}. {_advice(error)}") from None
    return str(row[0]) if row else ""


def _advice(error: sqlite3.Error) -> str:
    if isinstance(error, sqlite3.OperationalError):
        return "Look who may write it and its folder, whether the disk is full, and who uses it."
    return "If it is damaged, move it away; `make sync` makes a new one from runs/."


def revisions() -> tuple[str, set[str]]:
    """The newest migration of the installed MLflow, and all that it knows.

    They are read as text: MLflow takes seconds to import.
    """
    spec = importlib.util.find_spec("mlflow")
    assert spec
    assert spec.origin
    found: dict[bool, set[str]] = {False: set(), True: set()}
    for file in Path(spec.origin).with_name("store").glob("db_migrations/versions/*.py"):
        for down, name in REVISION.findall(file.read_text(encoding="utf-8")):
            found[bool(down)].add(name)
    (newest,) = found[False] - found[True]
    return newest, found[False]


def create(database: Path) -> None:
    """Make a store's tables in a file that gets its name once it has all of them."""
    from mlflow.store.db import utils

    new = _unfinished(database)
    engine = utils.create_sqlalchemy_engine(uri(new))  # type: ignore[no-untyped-call]
    utils._initialize_tables(engine)  # type: ignore[no-untyped-call]
    engine.dispose()
    new.replace(database)


def migrate(database: Path, backup: Path) -> None:
    """Bring a database to the schema of the installed MLflow, by MLflow's own migrations.

    They run on a copy, which replaces the content in one transaction: whatever interrupts this,
    the database is as before or as after.
    """
    from mlflow.store.db import utils

    print(
        f"MLflow: an older version made {database}; it is brought up to date. What it was stays "
        f"in {backup.name}.",
        file=sys.stderr,
    )
    copy = _unfinished(database)
    _copy(database, copy)
    copy.replace(backup)
    _copy(backup, copy)
    engine = utils.create_sqlalchemy_engine(uri(copy))  # type: ignore[no-untyped-call]
    utils._upgrade_db(engine)  # type: ignore[no-untyped-call]
    engine.dispose()
    _copy(copy, database)
    _remove(copy)


def _unfinished(database: Path) -> Path:
    """Where to make a database, without what one that was killed has left there."""
    path = database.with_name(f"{database.name}.new")
    _remove(path)
    return path


def _copy(source: Path, target: Path) -> None:
    """Write a database's content over another's, in one transaction."""
    with (
        closing(sqlite3.connect(source, timeout=PATIENCE_S)) as old,
        closing(sqlite3.connect(target, timeout=PATIENCE_S)) as new,
    ):
        old.backup(new)


def _remove(database: Path) -> None:
    """Remove a database with the files that SQLite puts beside it."""
    for end in ("", "-journal", "-wal", "-shm"):
        Path(f"{database}{end}").unlink(missing_ok=True)
