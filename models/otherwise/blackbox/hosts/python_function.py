"""Host any Python function, named by ``package.module:function``."""

from __future__ import annotations

import hashlib
import importlib
import inspect
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.hosts.networks import trusted_code
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError


def callable_host(
    target: str, spec: ClassifierSpec, *, folder: Path | None = None, trust_code: bool = False
) -> HostedClassifier:
    """Host a function that takes a batch of images and returns one row of outputs per image.

    Args:
        target: ``package.module:function``. It is called with ``(batch, channels, *size)`` float32 in the
            specification's value range.
        spec: Inputs and outputs of the model; its version is extended by a hash of the function's file.
        folder: Bundle whose Python code may be imported too.
        trust_code: Must be true, since importing a module runs code.

    Raises:
        BundleError: if the code is not trusted, or there is no such function.
    """
    if not trust_code:
        raise BundleError(
            f"{spec.name} is Python code ({target}).", "If you trust its author, allow it with --trust-code."
        )
    function = _find(target, folder)

    def scores(images: np.ndarray) -> np.ndarray:
        try:
            return np.asarray(function(images), dtype=np.float64)
        except Exception as error:
            fault = (str(error).splitlines() or [""])[0]
            raise ClassifierError(f"{target} failed: {type(error).__name__}: {fault}", "Test it by itself.") from error

    return HostedClassifier(replace(spec, version=_version(spec.version, function)), scores)


def _find(target: str, folder: Path | None) -> Callable[[np.ndarray], np.ndarray]:
    module, _, name = target.partition(":")
    try:
        with ExitStack() as stack:
            if folder is not None:
                stack.enter_context(trusted_code(folder))
            function = getattr(importlib.import_module(module), name)
    except Exception as error:
        fault = (str(error).splitlines() or [""])[0]
        raise BundleError(
            f"{target} cannot be imported: {type(error).__name__}: {fault}", "Install its package."
        ) from error
    if not callable(function):
        raise BundleError(f"{target} is no function.", "Name one as package.module:function.")
    return function


def _version(version: str, function: Callable) -> str:
    try:
        source = Path(inspect.getsourcefile(function) or "").read_text(encoding="utf-8")
    except (TypeError, OSError, UnicodeDecodeError):
        return version
    return hashlib.sha256((version + source).encode()).hexdigest()
