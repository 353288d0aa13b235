"""Read the configuration of a MONAI bundle without running its code.

MONAI's own deterministic transforms and inferers with literal arguments need no trust, nor do references such as
``@roi_size`` to a literal. Anything else needs it and is refused by name.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from monai.transforms import Compose, RandomizableTrait

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.configuration import leaves
from otherwise.blackbox.hosts.networks import trusted_code
from otherwise.errors import BundleError

TRUST = "If you trust its author, allow it with --trust-code."
_REFUSED = re.compile(r"Lambda|Adaptor|TorchVision|Save|Load|SimulateDelay|Invert|DataStats|TorchIO|Identity")
_TYPE = re.compile(r"\$\s*(?:np|numpy|torch)\.(float16|float32|float64|uint8|int16|int32|int64)")
_REFERENCE = re.compile(r"@([\w#:.]+)")
_SUM = re.compile(r"\$\s*@[\w#:.]+(\s*\+\s*@[\w#:.]+)*\s*")
"""Lists put together, such as ``$@first + @second``."""
_READERS = ("", "None", "ITKReader", "NibabelReader", "NrrdReader", "PILReader", "PydicomReader")
_READING = {
    "as_closest_canonical": False,
    "affine_lps_to_ras": True,
    "swap_ij": True,
    "squeeze_non_spatial_dims": False,
}
"""Arguments of readers that change an image, with the values by which it is as this package reads it."""
_MULTIPLE = 64
"""Approximate length, in voxels, chosen for an edge that allows several."""
_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True)
class Step:
    """One step of a processing.

    Attributes:
        name: Its name without the ``d`` of dictionary transforms.
        target: The class as named in the configuration.
        arguments: Its arguments.
    """

    name: str
    target: str
    arguments: dict[str, Any]

    @property
    def of_dictionary(self) -> bool:
        """Return whether the step takes a dictionary."""
        return self.target.rpartition(".")[2] != self.name


def read_steps(bundle: Bundle, part: str, trust_code: bool, skipped: tuple[str, ...] = ()) -> list[Step]:
    """Read the steps of ``preprocessing`` or ``postprocessing``.

    Args:
        bundle: The bundle.
        part: Key of the configuration.
        trust_code: Whether any code may be run.
        skipped: Names of steps to ignore.

    Raises:
        BundleError: if a step is no deterministic transform of MONAI with literal arguments, and is not trusted.
    """
    steps = []
    for number, step in enumerate(listed_steps(bundle, part)):
        target = str(step.get("_target_", "")) if isinstance(step, Mapping) else str(step)
        if isinstance(step, Mapping) and step.get("_disabled_"):
            continue
        short = target.rpartition(".")[2]
        name = re.sub(r"(d|D|Dict)$", "", short)
        if name == "LoadImage":
            _refuse_other_reading(step, f"Step {number + 1} of {part}, {short}")
        if name in skipped or name == "ToDevice":  # the device is chosen by the caller
            continue
        arguments = {key: value for key, value in step.items() if not key.startswith("_")} if target else {}
        arguments = {key: _typed(value) for key, value in arguments.items()}
        if name in ("EnsureType", "ToTensor"):
            arguments.pop("device", None)
        risky = _risky(arguments)
        if (risky or not _is_safe(target)) and not trust_code:
            what = f"{short} ({risky[0]})" if risky else short
            raise BundleError(f"Step {number + 1} of {part}, {what}, is no deterministic transform of MONAI.", TRUST)
        steps.append(Step(name, target, arguments))
    return steps


def listed_steps(bundle: Bundle, part: str) -> list[Any]:
    """Return the definitions of the steps of a ``Compose``; those of a ``Compose`` within it are put in its place.

    Raises:
        BundleError: if it is no list, or a ``Compose`` has arguments that are not followed.
    """
    definition = resolved(bundle.inference.get(part) or {}, bundle.inference)
    return _flat(bundle, part, definition, outermost=True)


def is_lazy(bundle: Bundle, part: str) -> bool | None:
    """Return the argument ``lazy`` of a ``Compose``: whether geometric steps are resampled once, together."""
    definition = resolved(bundle.inference.get(part) or {}, bundle.inference)
    return definition.get("lazy", False) if isinstance(definition, Mapping) else False


def _flat(bundle: Bundle, part: str, definition: Any, outermost: bool) -> list[Any]:
    listed = definition
    if isinstance(definition, Mapping):
        lazy, overrides = definition.get("lazy", False), definition.get("overrides")
        if overrides or (lazy if not outermost else lazy not in (True, False, None)):
            fault = "overrides" if overrides else "lazy"
            raise BundleError(f"{fault} of a Compose in {part} of {bundle.folder} is not followed.", "Remove it.")
        listed = definition.get("transforms", [])
    if isinstance(listed, str) and _SUM.fullmatch(listed):
        parts = [resolved(name.strip(), bundle.inference) for name in listed.strip().lstrip("$").split("+")]
        listed = [step for each in parts for step in each] if all(isinstance(each, list) for each in parts) else listed
    if not isinstance(listed, list):
        raise BundleError(
            f"{part} of {bundle.folder} is no Compose with a list of transforms.", "Write its transforms as a list."
        )
    flat = []
    for step in listed:
        composed = isinstance(step, Mapping) and str(step.get("_target_", "")).rpartition(".")[2] == "Compose"
        if not composed:
            flat.append(step)
        elif not step.get("_disabled_"):
            flat.extend(_flat(bundle, part, step, outermost=False))
    return flat


def _refuse_other_reading(step: Mapping[str, Any], what: str) -> None:
    """Refuse a ``LoadImage`` step whose reader turns, mirrors or converts images; this package reads them itself."""
    reader = step.get("reader")
    arguments = {**step, **reader} if isinstance(reader, Mapping) else dict(step)
    named = reader.get("_target_") if isinstance(reader, Mapping) else reader
    names = [str(each).rpartition(".")[2] for each in (named if isinstance(named, list) else [named])]
    other = next((name for name in names if name not in _READERS), None)
    changed = [key for key, usual in _READING.items() if arguments.get(key, usual) != usual]
    if "reverse_indexing" in arguments and arguments["reverse_indexing"] != (names == ["PILReader"]):
        changed.append("reverse_indexing")
    converter = str(arguments.get("converter") or "")
    if converter and not re.search(r"""\.convert\(['"]RGB['"]\)\s*$""", converter):
        changed.append("converter")
    if other is not None or changed:
        raise BundleError(
            f"{what} ({other or changed[0]}), is not followed: images are read as LoadImaged does by default.",
            "Remove it; where axes have to be exchanged, add Transposed or Orientationd.",
        )


def build_steps(bundle: Bundle, steps: list[Step], trust_code: bool, lazy: bool | None = False) -> Compose:
    """Build steps through MONAI's ConfigParser.

    Args:
        bundle: The bundle.
        steps: The steps.
        trust_code: Whether any code may be run.
        lazy: Whether geometric steps are resampled once, together; see :func:`is_lazy`.

    Raises:
        BundleError: if MONAI refuses them.
    """
    definitions = [{"_target_": step.target, **step.arguments} for step in steps]
    return Compose(_build(bundle, definitions, "processing", trust_code), lazy=lazy)


def build_inferer(bundle: Bundle, trust_code: bool) -> Any:
    """Build the bundle's inferer; a plain call of the network where it names none.

    Raises:
        BundleError: if it is none of MONAI's with literal arguments, and is not trusted.
    """
    from monai import inferers

    definition = resolved(bundle.inference.get("inferer"), bundle.inference)
    if definition is None:
        return inferers.SimpleInferer()
    if not trust_code:
        if not isinstance(definition, Mapping):
            raise BundleError(f"The inferer of {bundle.folder}, {definition!r}, is not followed.", TRUST)
        devices = ("device", "sw_device")  # the device is chosen by the caller
        definition = {key: value for key, value in definition.items() if key not in devices}
        targets = [str(value) for place, value in leaves(definition) if place.rpartition(".")[2] == "_target_"]
        unknown = next((target for target in targets if not _is_inferer(target)), None)
        risky = _risky({key: value for key, value in definition.items() if key != "_target_"})
        if unknown is not None or risky or not targets:
            what = unknown or f"{targets[0] if targets else 'nothing'} ({risky[0] if risky else 'no _target_'})"
            raise BundleError(f"The inferer of {bundle.folder}, {what}, is not followed.", TRUST)
    return _build(bundle, definition, "inferer", trust_code)


def resolved(value: Any, config: Mapping[str, Any], depth: int = 0) -> Any:
    """Replace references ``@name`` to literals of a configuration by their values.

    A reference that is undefined, circular or part of an expression is left unchanged.
    """
    if isinstance(value, Mapping):
        return {key: resolved(each, config, depth) for key, each in value.items()}
    if isinstance(value, list):
        return [resolved(each, config, depth) for each in value]
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    if found is None or depth > 8:
        return value
    target: Any = config
    for key in re.split(r"#|::", found[1]):
        if isinstance(target, Mapping) and key in target:
            target = target[key]
        elif isinstance(target, list) and key.isdecimal() and int(key) < len(target):
            target = target[int(key)]
        else:
            return value
    return resolved(target, config, depth + 1)


def edge_of(declared: Any) -> int | None:
    """Return an edge in voxels: a number, or a length allowed by a formula such as ``32*n`` or ``2**p*n``.

    Returns:
        None if it is neither. For ``*``, any length, it is 64.
    """
    text = str(declared).strip()
    if text == "*":
        return _MULTIPLE
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return None
    lengths = [_value(tree, n, p) for p in (1, 2) for n in range(1, _MULTIPLE + 1)]
    possible = [length for length in lengths if length is not None and length > 0]
    return min(possible, key=lambda length: (abs(length - _MULTIPLE), length), default=None)


def _value(tree: ast.expr, n: int, p: int) -> int | None:
    """Evaluate a formula of whole numbers, ``n`` and ``p``; return None if it is another expression or huge."""
    if isinstance(tree, ast.Constant) and type(tree.value) is int:
        return tree.value
    if isinstance(tree, ast.Name):
        return {"n": n, "p": p}.get(tree.id)
    if isinstance(tree, ast.BinOp) and type(tree.op) in _OPERATORS:
        left, right = _value(tree.left, n, p), _value(tree.right, n, p)
        if left is None or right is None or max(abs(left), abs(right)) > 4096:
            return None
        if isinstance(tree.op, ast.Pow) and not 0 <= right <= 12:
            return None
        return _OPERATORS[type(tree.op)](left, right)
    return None


def _risky(arguments: Mapping[str, Any]) -> list[str]:
    """Return the paths of arguments that are not literals."""
    return [place for place, value in leaves(arguments) if str(value).lstrip().startswith(("$", "%", "@"))]


def _typed(value: Any) -> Any:
    """Return a type for ``$np.float32`` and the like, which are harmless."""
    found = _TYPE.fullmatch(value) if isinstance(value, str) else None
    return getattr(torch, found[1]) if found else value


def _is_safe(target: str) -> bool:
    import monai.transforms

    module, _, short = target.rpartition(".")
    if (module and not module.startswith("monai.transforms")) or _REFUSED.search(short):
        return False
    found = getattr(monai.transforms, short, None)
    native = str(getattr(found, "__module__", "")).startswith("monai.transforms")
    return native and isinstance(found, type) and not issubclass(found, RandomizableTrait)


def _is_inferer(target: str) -> bool:
    from monai import inferers

    module, _, short = target.rpartition(".")
    if (module and not module.startswith("monai.inferers")) or "Zarr" in short or "WSI" in short:
        return False
    found = getattr(inferers, short, None)
    return isinstance(found, type) and issubclass(found, (inferers.Inferer, inferers.Splitter, inferers.Merger))


def _build(bundle: Bundle, definition: Any, what: str, trust_code: bool) -> Any:
    from monai.bundle.config_parser import ConfigParser

    config: dict[str, Any] = dict(bundle.inference) if trust_code else {}
    config["_built"] = definition
    try:
        parser = ConfigParser(config)
        if trust_code:
            with trusted_code(bundle.folder):
                return parser.get_parsed_content("_built")
        return parser.get_parsed_content("_built")
    except Exception as error:  # MONAI raises errors of many classes
        fault = " ".join(str(error.__cause__ or error).split())[:200]
        raise BundleError(f"The {what} of {bundle.folder} cannot be built: {fault}", "Correct it.") from error
