"""The type of a rule, which checks the arguments of one of MONAI Label's routes, and what all rules share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from monailabel.interfaces.app import MONAILabelApp

from lib.settings.params import ParamsError, listed

Arguments = dict[str, Any]
"""Arguments of one call of a route, by name; a rule may replace some."""
Rule = Callable[[MONAILabelApp, Arguments], None]

OVERRIDES = frozenset(
    {
        "image",
        "images",
        "image_id",
        "label",
        "labels",
        "model",
        "model_filename",
        "model_path",
        "bundle_path",
        "session",
    }
    | {"session_id", "file", "files", "path", "paths", "name", "ext", "id", "ts", "tag", "user", "strategy", "method"}
    | {"device", "gpus", "local_rank", "url", "uri", "datastore", "server", "output", "output_dir", "result_extension"}
)
"""Keys that would replace the image, model, session, path or device of a request."""


def anything(app: MONAILabelApp, arguments: Arguments) -> None:
    """Check nothing: the arguments are numbers, switches and choices, which FastAPI checks."""


def all_of(*rules: Rule) -> Rule:
    """Return a rule that applies several rules one after the other."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        for rule in rules:
            rule(app, arguments)

    return check


def refuse_keys(params: Mapping[str, Any], forbidden: Iterable[str]) -> None:
    """Refuse params that have one of the forbidden keys.

    Raises:
        ParamsError: naming them.
    """
    found = sorted(key for key in params if key.lower() in forbidden)
    if found:
        raise ParamsError(f"Forbidden: {listed(found)}.", "Leave it away; what is meant is in the address.")
