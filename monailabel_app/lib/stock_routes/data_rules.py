"""Rules for routes about images, labels and sessions."""

from __future__ import annotations

import hashlib
import json

from fastapi import UploadFile
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import DefaultLabelTag

from lib.settings.params import ParamsError
from lib.stock_routes.json_limits import parse_object
from lib.stock_routes.rule import OVERRIDES, Arguments, Rule, refuse_keys
from lib.storage.explanation_store import NotFoundError
from lib.storage.image_sources import IMAGE_ID, READABLE, from_datastore, from_session, unknown_image
from lib.storage.names import CHECKSUM, check_new_id, check_tag, image_ending, stem
from lib.storage.owners import CALLER, NotYoursError
from lib.storage.study_folder import ExistsError, StudyFolder

MOST_FILES = 1000
AUTHOR = "saved_by"
"""Key of a label's info: the user who saved it."""


def _refuse_unknown(app: MONAILabelApp, image: str) -> None:
    datastore = app.datastore()
    assert isinstance(datastore, StudyFolder)
    # Of an archive's image nothing is fetched for that.
    if not IMAGE_ID.fullmatch(image) or not datastore.has(image):
        raise unknown_image(image)


def known_image(name: str) -> Rule:
    """Return a rule: the argument is the id of an image of the studies."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        _refuse_unknown(app, arguments[name])

    return check


def known_label(name: str) -> Rule:
    """Return a rule: the argument is the id of an image that has a label of the tag."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        id, tag = arguments[name], check_tag(arguments["tag"])
        _refuse_unknown(app, id)
        if tag not in app.datastore().get_labels_by_image_id(id):
            raise NotFoundError(f"Image {id[:255]!r} has no label {tag!r}.", "GET /datastore/?output=all lists them.")

    return check


def own_label(id: str, tag: str) -> Rule:
    """Return a rule: the label is new, or was saved by the caller, or the caller is an administrator.

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
    """Return a rule that writes the caller into a JSON object, so that nobody else replaces the label."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        content = parse_object(name, arguments[name])
        content.pop(AUTHOR, None)
        if CALLER.get().user:
            content[AUTHOR] = CALLER.get().user
        arguments[name] = json.dumps(content)

    return check


def new_tag(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a tag that can be a name; empty stands for ``final``."""
    if arguments["tag"]:
        check_tag(arguments["tag"])


def checksum(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require that the image's file has the checksum, if one is given; without an algorithm it is SHA256.

    MONAI Label's own comparison fails for every checksum: it compares digests with and without their algorithm.
    """
    given, arguments["check_sum"] = arguments["check_sum"], None
    if not given:
        return
    if not CHECKSUM.fullmatch(given):
        raise ParamsError("The checksum is unknown.", "Send SHA256:, SHA512: or MD5: and hexadecimal digits.")
    algorithm, _, digest = given.rpartition(":")
    path = from_datastore(app.datastore(), arguments["image"]).path
    if not path.is_file():
        raise NotFoundError("The image is no single file.", "GET /datastore/image sends it as one.")
    with path.open("rb") as file:
        if hashlib.file_digest(file, algorithm or "SHA256").hexdigest() != digest.lower():
            raise NotFoundError("The image has another checksum.", "GET /datastore/image sends it.")


def new_image(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a new image, with a name that a file may have: no image is overwritten."""
    file: UploadFile = arguments["file"]
    given = arguments["image"] or stem(file.filename or "")
    _rename(file, "upload", refuse=True)
    id = arguments["image"] = check_new_id(given)
    if id in app.datastore().list_images():
        raise ExistsError(f"The studies hold an image {id!r} already.", "Choose another id, or have it removed first.")


def label_file(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a label with the ending of an image; its name is not used."""
    _rename(arguments["label"], "label", refuse=True)


def session_files(app: MONAILabelApp, arguments: Arguments) -> None:
    """Rename the files of a session, since their names may be a patient's; refuse to unpack archives."""
    if arguments["uncompress"]:
        raise ParamsError("Archives are not unpacked.", "Send the files of a series one by one, all named files.")
    files: list[UploadFile] = arguments["files"]
    if len(files) > MOST_FILES:
        raise ParamsError(f"More than {MOST_FILES} files.", "Send the series as one volume.")
    for number, file in enumerate(files):
        _rename(file, "image" if len(files) == 1 else f"{number:05}", refuse=False)


def known_session(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require a session of the caller, of one file if the file is asked for."""
    source = from_session(app.sessions(), arguments["session_id"], CALLER.get())
    if arguments.get("image") and not source.path.is_file():
        raise ParamsError("The session holds several files.", "Ask for the session without image=true.")


def kept(name: str) -> Rule:
    """Return a rule: the argument is a JSON object that can be stored with an image or label."""

    def check(app: MONAILabelApp, arguments: Arguments) -> None:
        refuse_keys(parse_object(name, arguments[name]), OVERRIDES)

    return check


def labelled(app: MONAILabelApp, arguments: Arguments) -> None:
    """Require at least one image with a final label."""
    if not app.datastore().datalist():
        raise NotFoundError("No image has a final label yet.", "Save one: PUT /datastore/label.")


def _rename(file: UploadFile, name: str, refuse: bool) -> None:
    """Rename an upload, and keep its ending, which tells the file format."""
    ending = image_ending(file.filename or "")
    if refuse and not ending:
        raise ParamsError("The uploaded file's name does not end like an image's.", f"Send {', '.join(READABLE)}.")
    file.filename = f"{name}{ending}"
