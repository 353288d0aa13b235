"""Rules for routes that start work: trainings, batches, strategies and scorings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.utils.async_tasks.utils import tasks

from lib.infers.task import HostedTask
from lib.runtime.worker import BusyError
from lib.settings.params import ParamsError, listed
from lib.stock_routes.json_limits import check_content
from lib.stock_routes.rule import OVERRIDES, Arguments, refuse_keys
from lib.storage.explanation_store import NotFoundError
from lib.storage.names import DEVICE, GPUS, check_tag

MOST_TRAININGS = 4
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


def training(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a model that can be trained, and options of this training only."""
    name = arguments["model"]
    if name not in app._trainers:
        raise NotFoundError(f"There is no training {str(name)[:64]!r}.", f"Train {_listed(app._trainers)}.")
    params = arguments["params"] or {}
    if params.pop("model", name) != name:
        raise ParamsError("The params name another model.", "Leave model away.")
    _train_params(params, app._trainers[name].config())
    _no_run_sync(arguments)
    _not_too_many()
    _usable_images(app, name)


def trainings(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require options of models that can be trained."""
    params = arguments["params"] or {}
    check_content(params)
    for name, options in params.items():
        if name not in app._trainers or not isinstance(options, dict):
            raise ParamsError(f"{name[:64]!r} is no training.", f"Send options by name: {_listed(app._trainers)}.")
        _train_params(options, app._trainers[name].config())
    _no_run_sync(arguments)
    _not_too_many()
    for name in params:
        _usable_images(app, name)


def batch(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a hosted model, and options of this model or of batches only."""
    task = app._infers.get(arguments["model"])
    if task is None:
        raise NotFoundError(f"There is no model {arguments['model'][:64]!r}.", f"Ask for {_listed(app._infers)}.")
    params = arguments["params"] or {}
    check_content(params)
    options = {key: params[key] for key in params if key in task.config()}
    if isinstance(task, HostedTask):
        task.check(options)
    _each(
        {key: value for key, value in params.items() if key not in options},
        {
            "device": _text_like(DEVICE),
            "gpus": _text_like(GPUS),
            "multi_gpu": _is_switch,
            "save_label": _is_switch,
            "label_tag": lambda value: isinstance(value, str) and bool(check_tag(value)),
            "logging": lambda value: value in LOG_LEVELS,
            "max_workers": _whole(0, 64),
            "max_batch_size": _whole(0, 2**31 - 1),
            "client_id": _is_short,
        },
    )


def strategy(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a known strategy, and its options only."""
    name = arguments["strategy"]
    if name not in app._strategies:
        raise NotFoundError(f"There is no strategy {name[:64]!r}.", f"Ask for {_listed(app._strategies)}.")
    params = arguments["params"] or {}
    check_content(params)
    config = app._strategies[name].info().get("config", {})
    _each(params, {"client_id": _is_short, **dict.fromkeys(config, lambda value: True)})


def scoring(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a known scoring method, and options that replace nothing of the request."""
    if arguments["method"] not in app._scoring_methods:
        raise NotFoundError(f"There is no scoring {arguments['method'][:64]!r}.", "GET /info/ lists what there is.")
    check_content(arguments["params"] or {})
    refuse_keys(arguments["params"] or {}, OVERRIDES)
    _no_run_sync(arguments)


def scorings(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require options that replace nothing of the request."""
    check_content(arguments["params"] or {})
    refuse_keys(arguments["params"] or {}, OVERRIDES)
    _no_run_sync(arguments)


def _usable_images(app: MONAILabelApp, name: str) -> None:
    """Refuse a training that the images of the studies do not allow."""
    check = getattr(app._trainers[name], "check", None)
    if check is not None:
        check(app.datastore())


def _train_params(params: Mapping[str, Any], config: Iterable[str]) -> None:
    check_content(params)
    _each(
        params,
        {
            "device": _text_like(DEVICE),
            "gpus": _text_like(GPUS),
            "name": _is_short,
            "client_id": _is_short,
            "train_random_seed": _whole(0, 2**31 - 1),
            **dict.fromkeys(config, lambda value: isinstance(value, int | float | str)),
        },
    )


def _no_run_sync(arguments: Arguments) -> None:
    if arguments["run_sync"]:
        raise ParamsError("run_sync is not offered.", "Leave it away, and look at the progress with GET.")


def _not_too_many() -> None:
    if sum(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks("train")) >= MOST_TRAININGS:
        raise BusyError(f"{MOST_TRAININGS} trainings wait already.", "Try again later.")


def _each(params: Mapping[str, Any], checks: Mapping[str, Callable[[Any], bool]]) -> None:
    unknown = [key for key in params if key not in checks]
    if unknown:
        raise ParamsError(f"Unknown or forbidden in params: {listed(unknown)}.", f"Allowed are {_listed(checks)}.")
    for key, value in params.items():
        if not checks[key](value):
            raise ParamsError(f"{key} {str(value)[:64]!r} is impossible.", "Correct it, or leave it away.")


def _text_like(pattern: Any) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value))


def _whole(low: int, high: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


def _is_short(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 255 and value.isprintable()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
