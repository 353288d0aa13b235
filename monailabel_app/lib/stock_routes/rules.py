"""What each argument of MONAI Label's own routes may be.

A route that has no entry here is not offered, whatever MONAI Label has. Numbers, switches and choices are checked by
FastAPI; everything that is text, JSON or a file is named here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fastapi import UploadFile
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag
from monailabel.utils.async_tasks.utils import tasks

from lib.infers.task import HostedTask
from lib.runtime.worker import BusyError
from lib.settings.params import ParamsError, listed
from lib.stock_routes.json_limits import check_content, parse_object
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import IMAGE_ID, READABLE, from_session, unknown_image
from lib.storage.names import CHECKSUM, DEVICE, GPUS, check_new_id, check_tag, image_ending, stem
from lib.storage.owners import CALLER
from lib.storage.study_folder import StudyFolder
from otherwise.errors import OtherwiseError

Arguments = dict[str, Any]
"""Of one call of a route, by name; a rule may replace some."""
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
"""Keys by which a request would speak of another image, model, session, place or device than it was asked for."""
MOST_FILES = 1000
MOST_TRAININGS = 4
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


AUTHOR = "saved_by"
"""Key of a label's info: who saved it."""


class NotYoursError(OtherwiseError):
    """It belongs to somebody else."""

    code = "not-yours"
    status = 403


class ExistsError(OtherwiseError):
    """What is to be made is there already."""

    code = "exists"
    status = 409


def anything(app: MONAILabelApp, arguments: Arguments) -> None:
    """Nothing to check: numbers, switches and choices only."""


def all_of(*rules: Rule) -> Rule:
    """Apply rules one after the other."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        for rule in rules:
            rule(app, arguments)

    return check


def _refuse_unknown(app: MONAILabelApp, image: str) -> None:
    datastore = app.datastore()
    assert isinstance(datastore, StudyFolder)
    # Of an archive's image nothing is fetched for that.
    if not IMAGE_ID.fullmatch(image) or not datastore.has(image):
        raise unknown_image(image)


def known_image(name: str) -> Rule:
    """The argument is the id of an image of the studies."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        _refuse_unknown(app, arguments[name])

    return check


def known_label(name: str) -> Rule:
    """The argument is the id of an image that has a label of the tag."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        id, tag = arguments[name], check_tag(arguments["tag"])
        _refuse_unknown(app, id)
        if tag not in app.datastore().get_labels_by_image_id(id):
            raise NotFoundError(f"Image {id[:255]!r} has no label {tag!r}.", "GET /datastore/?output=all lists them.")

    return check


def own_label(id: str, tag: str) -> Rule:
    """The label is new, or was saved by the caller, or the caller is an administrator.

    Args:
        id: Name of the argument that holds the image's id.
        tag: Name of the argument that holds the label's tag.
    """

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        image, name = arguments[id], arguments[tag] or DefaultLabelTag.FINAL.value
        datastore, caller = app.datastore(), CALLER.get()
        if name not in datastore.get_labels_by_image_id(image):
            return
        author = datastore.get_label_info(image, name).get(AUTHOR)
        if author and not caller.sees(str(author)):
            raise NotYoursError("Somebody else saved this label.", "Save yours under another tag, or ask them.")

    return check


def signed(name: str) -> Rule:
    """Write the caller into the JSON object of an argument, so that nobody else replaces the label."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        content = parse_object(name, arguments[name])
        content.pop(AUTHOR, None)
        if CALLER.get().user:
            content[AUTHOR] = CALLER.get().user
        arguments[name] = json.dumps(content)

    return check


def new_tag(app: MONAILabelApp, arguments: Arguments) -> None:
    """The tag may be a new one, and empty for ``final``."""
    if arguments["tag"]:
        check_tag(arguments["tag"])


def checksum(app: MONAILabelApp, arguments: Arguments) -> None:
    """The checksum has an algorithm that MONAI Label knows."""
    if arguments["check_sum"] and not CHECKSUM.fullmatch(arguments["check_sum"]):
        raise ParamsError("The checksum is unknown.", "Send SHA256:, SHA512: or MD5: and hexadecimal digits.")


def new_image(app: MONAILabelApp, arguments: Arguments) -> None:
    """The image is new, and has a name that a file may have; nothing is ever overwritten."""
    file: UploadFile = arguments["file"]
    given = arguments["image"] or stem(file.filename or "")
    _rename(file, "upload", refuse=True)
    id = arguments["image"] = check_new_id(given)
    if id in app.datastore().list_images():
        raise ExistsError(f"The studies hold an image {id!r} already.", "Choose another id, or have it removed first.")


def label_file(app: MONAILabelApp, arguments: Arguments) -> None:
    """The label is a file of an image's kind; its name is not used."""
    _rename(arguments["label"], "label", refuse=True)


def session_files(app: MONAILabelApp, arguments: Arguments) -> None:
    """The files are stored under names of ours (theirs may be a patient's), and archives are not unpacked."""
    if arguments["uncompress"]:
        raise ParamsError("Archives are not unpacked.", "Send the files of a series one by one, all named files.")
    files: list[UploadFile] = arguments["files"]
    if len(files) > MOST_FILES:
        raise ParamsError(f"More than {MOST_FILES} files.", "Send the series as one volume.")
    for number, file in enumerate(files):
        _rename(file, "image" if len(files) == 1 else f"{number:05}", refuse=False)


def known_session(app: MONAILabelApp, arguments: Arguments) -> None:
    """There is such a session; where its image is to be sent, it is one file."""
    source = from_session(app.sessions(), arguments["session_id"], CALLER.get())
    if arguments.get("image") and not source.path.is_file():
        raise ParamsError("The session holds several files.", "Ask for the session without image=true.")


def kept(name: str) -> Rule:
    """The argument is a JSON object that is kept beside an image or label."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        _refuse(parse_object(name, arguments[name]), OVERRIDES)

    return check


def training(app: MONAILabelApp, arguments: Arguments) -> None:
    """The model can be trained, and its options are its own."""
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
    """The options are of models that can be trained."""
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
    """The model is hosted, and its options are its own or the batch's."""
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
    """There is such a strategy, and nothing is asked but its options."""
    name = arguments["strategy"]
    if name not in app._strategies:
        raise NotFoundError(f"There is no strategy {name[:64]!r}.", f"Ask for {_listed(app._strategies)}.")
    params = arguments["params"] or {}
    check_content(params)
    config = app._strategies[name].info().get("config", {})
    _each(params, {"client_id": _is_short, **dict.fromkeys(config, lambda value: True)})


def scoring(app: MONAILabelApp, arguments: Arguments) -> None:
    """There is such a method, and its options do not speak of anything else."""
    if arguments["method"] not in app._scoring_methods:
        raise NotFoundError(f"There is no scoring {arguments['method'][:64]!r}.", "GET /info/ lists what there is.")
    check_content(arguments["params"] or {})
    _refuse(arguments["params"] or {}, OVERRIDES)
    _no_run_sync(arguments)


def scorings(app: MONAILabelApp, arguments: Arguments) -> None:
    """The options do not speak of anything else."""
    check_content(arguments["params"] or {})
    _refuse(arguments["params"] or {}, OVERRIDES)
    _no_run_sync(arguments)


def labelled(app: MONAILabelApp, arguments: Arguments) -> None:
    """There is something to send."""
    if not app.datastore().datalist():
        raise NotFoundError("No image has a final label yet.", "Save one: PUT /datastore/label.")


RULES: Mapping[str, Rule] = {
    "GET /info/": anything,
    "POST /activelearning/{strategy}": strategy,
    "GET /batch/infer": anything,
    "POST /batch/infer/{model}": batch,
    "DELETE /batch/infer": anything,
    "GET /train/": anything,
    "POST /train/": trainings,
    "POST /train/{model}": training,
    "DELETE /train/": anything,
    "GET /scoring/": anything,
    "POST /scoring/": scorings,
    "POST /scoring/{method}": scoring,
    "DELETE /scoring/": anything,
    "GET /datastore/": anything,
    "PUT /datastore/": all_of(new_image, kept("params")),
    "PUT /datastore/image": all_of(new_image, kept("params")),
    "DELETE /datastore/": known_image("id"),
    "DELETE /datastore/image": known_image("id"),
    "HEAD /datastore/image": all_of(known_image("image"), checksum),
    "GET /datastore/image": known_image("image"),
    "GET /datastore/image/info": known_image("image"),
    "PUT /datastore/image/info": all_of(known_image("image"), kept("info")),
    "PUT /datastore/label": all_of(
        known_image("image"), new_tag, label_file, kept("params"), own_label("image", "tag"), signed("params")
    ),
    "DELETE /datastore/label": known_label("id"),
    "HEAD /datastore/label": known_label("image"),
    "GET /datastore/label": known_label("label"),
    "GET /datastore/label/info": known_label("label"),
    "PUT /datastore/label/info": all_of(known_label("label"), kept("info"), own_label("label", "tag"), signed("info")),
    "PUT /datastore/updatelabelinfo": all_of(
        known_label("label"), kept("params"), own_label("label", "tag"), signed("params")
    ),
    "GET /datastore/dataset": labelled,
    "GET /session/{session_id}": known_session,
    "PUT /session/": session_files,
    "DELETE /session/{session_id}": known_session,
    # MONAI Label's log-in, where its authentication is switched on; it speaks to the address of its settings only.
    "GET /auth/": anything,
    "POST /auth/token": anything,
    "GET /auth/token/valid": anything,
}


def _rename(file: UploadFile, name: str, refuse: bool) -> None:
    """Give an upload a name of ours, with the ending that says what it is."""
    ending = image_ending(file.filename or "")
    if refuse and not ending:
        raise ParamsError("The uploaded file's name does not end like an image's.", f"Send {', '.join(READABLE)}.")
    file.filename = f"{name}{ending}"


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


def _refuse(params: Mapping[str, Any], forbidden: Iterable[str]) -> None:
    found = sorted(key for key in params if key.lower() in forbidden)
    if found:
        raise ParamsError(f"Forbidden: {listed(found)}.", "Leave it away; what is meant is in the address.")


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
