"""``attribute``: the map of a known attribution method for an image that was explained, for comparison."""

from __future__ import annotations

from typing import Any

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.infer_v2 import InferType

from lib.infers.task import HostedTask, Report, Target, TargetNames, TaskAnswer
from lib.runtime.host import Host
from lib.runtime.worker import Cancelled
from lib.settings.params import Params, ParamsError, one_of, refuse_unknown
from lib.storage.image_sources import Source
from lib.storage.owners import Caller, check_visible
from otherwise.attribution.methods import find_method, offered
from otherwise.blackbox.output_kind import output_kind
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.images.writing import write_image


class Attribute(HostedTask):
    """Attributes the answer of an explanation; the map is added to the explanation's files.

    It is computed once for each explanation and method.
    """

    stock = False

    def __init__(self, host: Host) -> None:
        names = [method.name for method in offered(host.classifier)]
        super().__init__(host, InferType.OTHERS, {}, "Where other methods say that it looks", {"method": names})

    def check(self, params: Params) -> dict[str, Any]:
        """Return the method; slice and class are those of the explanation."""
        refuse_unknown(params, ["method"])
        method = one_of(params, "method", [method.name for method in offered(self.host.classifier)])
        if method is None:
            raise ParamsError("No method is named.", "GET /otherwise/about lists them.")
        return {"method": method}

    def find_target(self, names: TargetNames, app: MONAILabelApp, caller: Caller) -> Target:
        """Find the image of an explanation, with its slice and class.

        Raises:
            NotFoundError: if there is no explanation of this id that the caller may see.
        """
        id, store, owners = names.explanation, self.host.store, self.host.owners
        check_visible(owners, id, caller)
        content = store.content(id)
        source = Source(store.file(id, content["files"]["original"]), content["image"]["id"], owners.get(id))
        label = content["prediction"]["label"]
        if content.get("value"):  # its sides are those of the question's cut, the classifier's those of its reference
            reference = output_kind(self.host.classifier).reference
            label = self.host.classifier.classes[int(content["value"]["original"] > reference)]
        about = {"explanation": id, "slice_index": content["slice_index"], "label": label}
        return Target(source, about)

    def answer(self, image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
        """Attribute on the worker's thread."""
        method = find_method(arguments["method"], self.host.classifier)
        folder = self.host.store.folder(arguments["explanation"])
        file = folder / f"attribution-{method.name}.nrrd"
        if not file.is_file():
            found = self.host.explainer.attribute(
                image,
                method.name,
                label=arguments["label"],
                slice_index=arguments["slice_index"],
                progress=report,
                cancelled=cancelled,
            )
            with atomic_path(file) as draft:
                write_image(found, draft)
        about = {"method": method.name, "title": method.title, "source": method.source, "label": arguments["label"]}
        return TaskAnswer({"explanation": arguments["explanation"], "file": file.name, **about})
