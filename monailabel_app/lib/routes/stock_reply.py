"""A reply in the forms that stock MONAI Label clients expect."""

from __future__ import annotations

import json
from enum import StrEnum

from fastapi.responses import JSONResponse, Response
from requests_toolbelt import MultipartEncoder

from lib.infers.task import TaskAnswer
from lib.settings.params import ParamsError

NRRD = "application/octet-stream"


class Output(StrEnum):
    """Values of the query parameter ``output``; without it the reply has all parts."""

    image = "image"
    json = "json"
    all = "all"
    dicom_seg = "dicom_seg"


def refuse_output(output: Output | None, has_label_map: bool) -> None:
    """Refuse a form of reply that the task does not have, before any work is done.

    Raises:
        ParamsError: if the task does not have it.
    """
    if output is Output.dicom_seg:
        raise ParamsError("DICOM SEG is not offered.", "Ask for output=image: a label map as .nrrd.")
    if output is Output.image and not has_label_map:
        raise ParamsError("This model makes no image.", "Ask for output=json.")


def reply(answer: TaskAnswer, output: Output | None) -> Response:
    """Send an answer.

    JSON alone, the label map alone, or both as ``multipart/form-data`` with the parts ``params`` and ``image``.
    """
    if answer.label_map is None and "finds" in answer.json and output is not Output.json:
        # MONAI Label's client reads the answer of a detection model from a form with a file only.
        content = json.dumps(answer.json)
        form = MultipartEncoder(
            {"params": (None, content, "application/json"), "file": ("finds.json", content, "application/json")}
        )
        return Response(form.to_string(), media_type=form.content_type)
    if answer.label_map is None or output is Output.json:
        return JSONResponse(answer.json)
    name = f"{answer.json.get('id', 'result')}.nrrd"
    if output is Output.image:
        return Response(
            answer.label_map, media_type=NRRD, headers={"Content-Disposition": f'attachment; filename="{name}"'}
        )
    parts = MultipartEncoder(
        {"params": (None, json.dumps(answer.json), "application/json"), "image": (name, answer.label_map, NRRD)}
    )
    return Response(parts.to_string(), media_type=parts.content_type)
