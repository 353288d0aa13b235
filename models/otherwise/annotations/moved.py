"""A SQLite file that is removed while it is open: SQLite itself would go on writing into what nobody finds again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from otherwise.errors import OtherwiseError


class GoneError(OtherwiseError):
    """What was recorded is no longer where it was."""

    code = "storage"
    status = 507


def refuse_once_moved(engine: Engine, path: Path) -> None:
    """Let no transaction begin any more once the file of a database is not the one that it is now.

    With a write-ahead log SQLite does not notice by itself (it tells ``SQLITE_READONLY_DBMOVED`` for rollback journals
    only). The file is looked at before each transaction, and before a connection would make a new, empty one.

    Args:
        engine: Of an open SQLite file.
        path: That file.

    Raises:
        GoneError: from whatever begins a transaction then; it works again once the file is back.
    """
    known = _identity(path)

    def look(*_: Any) -> None:
        if _identity(path) != known:
            raise GoneError(
                f"{path.name} was moved or removed while it was in use.", "Put it back, or start the server anew."
            )

    event.listen(engine, "connect", look, insert=True)
    event.listen(engine, "begin", look)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
