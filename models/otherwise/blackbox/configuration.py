"""Read a file of a bundle's configuration, JSON or YAML, as plain data."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from otherwise.errors import BundleError

_MOST_VALUES = 100_000
"""Largest size of a configuration."""


def leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield path (``a.b.0``) and value of every leaf of nested objects and lists."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, f"{place}.{key}" if place else str(key))
    elif isinstance(content, (list, tuple)):
        for index, value in enumerate(content):
            yield from leaves(value, f"{place}.{index}")
    else:
        yield place, content


def read_configuration(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file that holds an object.

    Raises:
        BundleError: naming the line where it is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text) if path.suffix == ".json" else _read_yaml(text)
    except json.JSONDecodeError as error:
        raise BundleError(f"{path} line {error.lineno}: {error.msg}.", "Correct the JSON there.") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BundleError(f"{path} line {line}: {error.problem}.", "Correct the YAML there.") from error
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        fault = " ".join(str(error).split())[:200]
        raise BundleError(f"{path} cannot be read: {fault}.", "Copy the bundle again.") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path} holds no object.", "It should hold keys and their values.")
    return content


class _YamlReader(yaml.SafeLoader):
    """Reader of plain data; a repeated key is an error, as in MONAI."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a dictionary and refuse repeated keys."""
        seen = set()
        for key, _ in node.value:
            if str(key.value) in seen:
                raise yaml.MarkedYAMLError(None, None, f"the key {key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _read_yaml(text: str) -> Any:
    """Read YAML as JSON's types: keys become strings, and expansion of aliases is bounded."""
    content = yaml.load(text, _YamlReader)
    if len(list(islice(leaves(content), _MOST_VALUES + 1))) > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES} values")
    return json.loads(json.dumps(content, default=str))
