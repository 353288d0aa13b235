"""Generate reference/cli.md and reference/http.md from the program itself, and list the decisions; hooks of MkDocs."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

CLI_HEAD = """# Command line

Every command, from its own help. `--json`, where a command has it, prints for machines.

Exit codes: 0 done; 1 the classifier was checked and cannot be hosted; 2 refused, with one line that says why;
3 some images of an archive failed; 130 interrupted.
"""
HTTP_HEAD = """# HTTP

Every address of the server, from its own OpenAPI description; a running server shows it with all fields at `/docs`.

Errors are JSON, `{error, detail, hint}`, with a 4xx or 5xx status: the kind, what is wrong, and what to do.
`/infer`, `/activelearning`, `/train`, `/datastore` and `/session` are MONAI Label's own and obey its contract.
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the decision records, whichever there are."""
    records = sorted(path.name for path in Path(config.docs_dir, "adr").glob("*.md"))
    config.nav.append({"Decisions": [f"adr/{name}" for name in records]})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    files.append(File.generated(config, "reference/cli.md", content=CLI_HEAD + "".join(commands())))
    files.append(File.generated(config, "reference/http.md", content=HTTP_HEAD + "".join(routes(openapi()))))
    return files


def commands() -> Iterator[str]:
    """Yield a section for each command of ``otherwise``."""
    from otherwise.cli import build

    yield from _group(typer.main.get_command(build()), "otherwise")


def _group(command: click.Command, name: str) -> Iterator[str]:
    if isinstance(command, click.Group) or hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from _group(inner, f"{name} {word}")
        return
    yield f"\n## {name}\n\n{(command.help or '').strip()}\n"
    arguments = [part for part in command.params if part.param_type_name == "argument"]
    options = [part for part in command.params if part.param_type_name == "option" and part.name != "help"]
    usage = [_word(part) + ("..." if part.nargs == -1 else "") for part in arguments]
    usage = [word if part.required else f"[{word}]" for word, part in zip(usage, arguments, strict=True)]
    yield "\n```text\n" + " ".join([name, *usage, *(["[OPTIONS]"] if options else [])]) + "\n```\n"
    rows = [(f"`{_word(part)}`", getattr(part, "help", "") or "", "") for part in arguments]
    rows += [(", ".join(f"`{word}`" for word in part.opts), part.help or "", _default(part)) for part in options]
    if rows:
        yield "\n| | | default |\n|---|---|---|\n"
        yield "".join(
            "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |\n" for row in rows
        )


def _word(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _default(option: Any) -> str:
    value = option.default
    if option.required:
        return "required"
    if value is None or value is False or value == () or callable(value) or type(value).__name__ == "Sentinel":
        return ""
    return f"`{value}`"


def openapi() -> dict[str, Any]:
    """Return the OpenAPI description of a server with the shipped models and no images."""
    from otherwise.resources import app_folder

    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        studies.mkdir()
        conf = {"state": str(Path(folder, "state")), "device": "cpu"}
        os.environ.update(MONAI_LABEL_APP_DIR=str(app_folder()), MONAI_LABEL_STUDIES=str(studies))
        from monailabel.config import settings
        from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

        settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES = str(app_folder()), str(studies)
        app = get_class_of_subclass_from_file("main", str(app_folder() / "main.py"), "MONAILabelApp")(
            str(app_folder()), str(studies), conf
        )
        try:
            from monailabel.app import app as server

            return dict(server.openapi())
        finally:
            app.close()


def routes(description: dict[str, Any]) -> Iterator[str]:
    """Yield a table for each group of addresses."""
    groups: dict[str, list[str]] = {}
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            first = path.strip("/").split("/")
            group = "/".join(first[:2]) if first[0] == "otherwise" else first[0]
            text = (operation.get("description") or operation.get("summary") or "").strip().split("\n\n")[0]
            given = [f"`{each['name']}`" for each in operation.get("parameters", []) if each["in"] == "query"]
            cells = (f"`{method.upper()} {path}`", " ".join(text.split()), ", ".join(given))
            groups.setdefault(group, []).append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    for group, rows in sorted(groups.items(), key=lambda pair: (not pair[0].startswith("otherwise"), pair[0])):
        yield f"\n## /{group}\n\n| address | does | query |\n|---|---|---|\n" + "".join(sorted(rows))
