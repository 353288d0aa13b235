"""Bring a database to the form that this version of Otherwise reads."""

from __future__ import annotations

import threading
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from otherwise.errors import OtherwiseError

VERSION_TABLE = "otherwise_annotation_version"
"""Where the form's version stands; of a name that no other program's table has in a shared database."""

_LOCK = 0x0743_5215E  # any number that no other program takes for its own lock
_one_at_a_time = threading.Lock()  # Alembic keeps the migration under way in variables of its modules


class NewerDatabaseError(OtherwiseError):
    """A database was written by a newer version of Otherwise."""

    code = "newer-database"
    status = 409


def migrate(engine: Engine) -> None:
    """Make or upgrade the tables, in one transaction that other processes wait for.

    Raises:
        NewerDatabaseError: if the database is newer than this version.
        sqlalchemy.exc.SQLAlchemyError: if the database refuses.
    """
    with as_file(files("otherwise.annotations") / "migrations") as folder, _one_at_a_time:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
        with engine.connect() as connection:
            if _revision(connection) == known[0]:
                return
        with engine.connect().execution_options(writes=True) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            revision = _revision(connection)
            if revision is not None and revision not in known:
                raise NewerDatabaseError("The annotations were written by a newer Otherwise.", "Update Otherwise.")
            config.attributes.update(connection=connection, version_table=VERSION_TABLE)
            command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
