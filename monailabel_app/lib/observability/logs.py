"""The log: one line for each event, as text or JSON, without data of patients.

MONAI Label logs requests with their image ids, files and parameters. Libraries that read DICOM log values that they
cannot read. Messages of exceptions quote file content. Therefore only errors of other packages are logged; an exception
is logged by its kind and place, and its message only if it concerns code.
"""

from __future__ import annotations

import json
import logging
import traceback
import warnings
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from lib.settings.options import LogFormat

REQUEST: ContextVar[str] = ContextVar("REQUEST", default="")
"""Id of the request that is being answered."""

QUIET = (
    "monailabel",
    "pydicom",
    "highdicom",
    "dicomweb_client",
    "pynetdicom",
    "nibabel",
    "PIL",
    "urllib3",
    "watchdog",
)
"""Loggers whose warnings quote requests, files or tags."""
SCHEDULER = "timeloop"
"""MONAI Label's scheduler logs nothing but its start and its jobs. It resets its logger's level and adds a handler."""
SILENT = ("uvicorn.access", "task_train", "task_infer", "task_scoring", "task_batch_infer")
"""The first prints queries; the others what subprocesses print, which ``GET /train/`` shows to whoever may see it."""

ABOUT_CODE = (
    AttributeError,
    ImportError,
    MemoryError,
    NameError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ZeroDivisionError,
)
"""Exceptions whose messages come from Python itself."""


def configure(form: LogFormat) -> None:
    """Write the process's log to standard error in one form, whatever was set up before.

    Args:
        form: ``text`` for people, ``json`` for machines.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    known = [logging.getLogger(name) for name in logging.root.manager.loggerDict]
    for logger in known:  # loggers of uvicorn and MONAI Label have handlers of their own
        logger.handlers.clear()
        logger.propagate = True
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(logging.INFO)
    quieten()


def quieten() -> None:
    """Silence loggers that quote requests, files or tags, and the scheduler."""
    import SimpleITK

    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in SILENT:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger(SCHEDULER).addFilter(_drop)
    logging.captureWarnings(True)
    for module in QUIET:
        warnings.filterwarnings("ignore", module=rf"{module}\b")
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)


def _drop(record: logging.LogRecord) -> bool:
    return False


class TextFormatter(logging.Formatter):
    """``2026-11-22T08:00:00.000Z INFO lib.x: words [request]``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; the trace of an exception follows in further lines."""
        request = REQUEST.get()
        head = f"{_time(record)} {record.levelname} {record.name}: {_one_line(record)}"
        return "\n".join([head + (f" [{request}]" if request else ""), *_trace(record)])


class JsonFormatter(logging.Formatter):
    """One object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "message": _one_line(record),
        }
        if REQUEST.get():
            content["request"] = REQUEST.get()
        content |= getattr(record, "fields", {})
        if trace := _trace(record):
            content["exception"] = trace
        return json.dumps(content)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _one_line(record: logging.LogRecord) -> str:
    # A line break in a message would let its author forge lines.
    return " ".join(record.getMessage().splitlines())


def _trace(record: logging.LogRecord) -> list[str]:
    error = record.exc_info[1] if record.exc_info else None
    lines: list[str] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        lines.append(f"  Traceback of {type(error).__module__}.{type(error).__name__}{_words(error)}")
        lines += [
            f"    {frame.filename}:{frame.lineno} in {frame.name}"
            for frame in traceback.extract_tb(error.__traceback__)
        ]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return lines


def _words(error: BaseException) -> str:
    if isinstance(error, ABOUT_CODE):
        return f": {' '.join(str(error).splitlines())}"
    return f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
