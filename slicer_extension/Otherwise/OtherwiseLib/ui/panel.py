"""The panel: connects the widgets of server, image and Explain with the logic. Nothing is computed here."""

from __future__ import annotations

from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from ..logic.logic import Logic
from ..logic.source import ImageSelection
from ..mrml import explanations, view_nodes
from ..mrml.volumes import geometry_of
from . import texts, value_texts
from .connections import Connections
from .explanation_panel import ExplanationPanel
from .finds_panel import FindsPanel
from .local_server_panel import LocalServerPanel
from .models_panel import ModelsPanel
from .saved_choices import SavedChoices
from .teaching_panel import TeachingPanel


class Panel:
    """Connects the module's widgets with the logic.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: Does the work.
        viewer: The Explanation section.
        teaching: The Teach section.
        models: The Models section.
        parameters: Returns the ``Parameters`` of the present scene.
        local: The part that starts a server on this machine.
        confirm: Asks a yes-no question.
    """

    def __init__(
        self,
        ui: Any,
        logic: Logic,
        viewer: ExplanationPanel,
        teaching: TeachingPanel,
        models: ModelsPanel,
        parameters: Callable[[], Any],
        local: LocalServerPanel,
        confirm: Callable[[str], bool],
    ) -> None:
        self.ui = ui
        self._connections = Connections()
        self.logic = logic
        self.viewer, self.teaching, self.models, self.local = viewer, teaching, models, local
        self.finder = FindsPanel(ui, logic)
        self._confirm = confirm
        self.choices = SavedChoices(ui, logic, parameters)
        self._slices = False  # whether a slice has to be chosen
        ui.addressEdit.text = logic.address
        self._show_message("")
        self._connect()
        self._hide_results()
        self.choices.restore()
        # The scene may have been loaded before the module was opened, or the module was reloaded.
        self._show_explanations()
        self.choices.bind()
        self.update()

    def close(self) -> None:
        """Stop timers and jobs, and disconnect everything."""
        self.local.close()
        self.models.close()
        self.teaching.close()
        self.viewer.close()
        self._connections.close()
        self.choices.unbind()
        self.finder.close()
        self.logic.close(leave=True)

    def scene_changed(self) -> None:
        """Show the present scene, after one was closed or loaded."""
        self._hide_results()
        self.choices.restore()
        self.choices.bind()
        self.finder.clear()
        self._show_explanations()
        self.teaching.scene_changed()
        self.update()

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_connect(self, *_unused: object) -> None:
        """Connect to the server."""
        user, secret = self.ui.userEdit.text.strip(), self.ui.passwordEdit.text
        self._show_message("")
        if user:
            self.logic.connect(self.ui.addressEdit.text, user=user, password=secret)
        else:
            self.logic.connect(self.ui.addressEdit.text, token=secret)

    def on_classify(self, *_unused: object) -> None:
        """Classify the chosen image."""
        if self._may_send():
            self._show_message("")
            self.logic.classify(self.source())

    def on_find(self, *_unused: object) -> None:
        """Find patches that are worth explaining."""
        if self._may_send():
            self._show_message("")
            self.finder.find(self.source())

    def on_explain(self, *_unused: object) -> None:
        """Explain the chosen image, or the chosen find."""
        if self._may_send():
            self._show_message("")
            ui, target = self.ui, self.choices.target
            options = {"noise": ui.noiseSpin.value, "shape_only": ui.shapeOnlyCheck.checked}
            self.logic.explain(self.source(), target, self.finder.chosen, **options)

    def on_cancel(self, *_unused: object) -> None:
        """Cancel the job."""
        self.ui.stageLabel.text = _("Stopping …")
        self.logic.cancel()

    def on_slice_here(self, *_unused: object) -> None:
        """Choose the slice that the views show."""
        from ..mrml.snapshot import slice_at

        volume = self.ui.volumeSelector.currentNode()
        node = view_nodes.node_in_view(self.logic.scene, volume) if volume is not None else None
        if node is None:
            self._show_message(_("No view shows this volume. Show it first."))
        else:
            matrix = node.GetSliceToRAS()
            self.ui.sliceSpin.value = slice_at(volume, tuple(matrix.GetElement(row, 3) for row in range(3)))

    def on_volume(self, *_unused: object) -> None:
        """Set the range of slices for the chosen volume."""
        volume = self.ui.volumeSelector.currentNode()
        count = geometry_of(volume)[0][2] if volume is not None else 0
        self.ui.sliceSpin.maximum = max(0, count - 1)
        self.ui.sliceSpin.value = count // 2
        self.on_image()
        self.update()

    def on_image(self, *_unused: object) -> None:
        """Drop the finds of the image or slice before."""
        if not self.choices.restoring:
            self.finder.clear()
        self.on_choice()

    def on_region(self, *_unused: object) -> None:
        """Deselect the find: a region of interest goes first."""
        if self.ui.roiSelector.currentNode() is not None:
            self.finder.leave()
        self.on_choice()

    def on_choice(self, *_unused: object) -> None:
        """Save the choices in the scene."""
        self.choices.save()

    def on_next_case(self, *_unused: object) -> None:
        """Get the next image to look at from the server."""
        self._show_message("")
        self.logic.next_case()

    # -- what the logic emits ------------------------------------------------------------------------------------

    def connected(self, about: dict) -> None:
        """Show what the server hosts, clear an older message, and fold the section."""
        self._show_message("")
        self.ui.serverLabel.text = texts.hosted(about, _)
        self.ui.passwordEdit.text = ""
        self.ui.addressEdit.text = self.logic.client.address
        # The section is needed again only for another server.
        self.ui.serverSection.text = _("Server: {name}").format(name=about["classifiers"][0]["name"])
        self.ui.serverSection.collapsed = True
        says_value = bool(self.logic.value)
        usual = _("the usual target, or type <10, >=50, -20, =200") if says_value else _("another class, the nearest")
        self.ui.targetBox.editable = says_value
        self.choices.fill(self.ui.targetBox, [usual, *self.logic.targets])
        self.viewer.refresh_methods()
        self.finder.clear()
        self.finder.offer()
        self.update()
        self.logic.list_images()

    def listed(self, images: list) -> None:
        """List the server's images, and take up a job that ran before."""
        self.choices.fill(self.ui.studyBox, images)
        self.update()
        self.logic.resume()

    def offered(self, image: str) -> None:
        """Choose the image that the server proposes."""
        self.ui.volumeSelector.setCurrentNode(None)
        if self.ui.studyBox.findText(image) < 0:
            self.ui.studyBox.addItem(image)
        self.ui.studyBox.currentIndex = self.ui.studyBox.findText(image)
        self._show_message(_("Next: {image}. Press Explain.").format(image=image))

    def progressed(self, stage: str, fraction: float) -> None:
        """Show the progress of a job."""
        self.ui.progressBar.value = round(1000 * fraction)
        self.ui.stageLabel.text = texts.stage(stage, _)

    def classified(self, answer: dict) -> None:
        """Show the classifier's probabilities, or the model's value."""
        value = answer.get("value")
        if value:
            self._value(value["name"], value["amount"], value["unit"])
        else:
            self._probabilities({score["label"]: score["score"] for score in answer["prediction"]})

    def explained(self, shown: explanations.ShownExplanation) -> None:
        """Show an explanation."""
        value = shown.content.get("value")
        if value:
            self._value(value["name"], value["original"], value["unit"])
        else:
            self._probabilities(shown.content["prediction"]["probabilities"])
        self._hide_results()
        self.viewer.refresh(shown.id)
        self.ui.lookSection.collapsed = False

    def compared(self, shown: explanations.ShownExplanation, method: str) -> None:
        """Show another method's map."""
        self._hide_results()
        self.viewer.compared(shown, method)

    def found(self, found: list) -> None:
        """List the finds."""
        self.finder.found(found)
        self._show_message("" if found else _("Nothing was found in this image."))

    def saved(self, path: object) -> None:
        """Show where a file was saved."""
        self._show_message(_("Saved {path}.").format(path=path))

    def failed(self, error: BaseException) -> None:
        """Show an error."""
        self._show_message(texts.trouble(error, _))
        if self.logic.about is None:
            self.ui.serverLabel.text = _("Not connected.")
            self.ui.serverSection.text = _("Server")
            self.ui.serverSection.collapsed = False
        self.update()

    def cancelled(self) -> None:
        """Show that the job was cancelled."""
        self._show_message(_("Stopped."))

    def busy_changed(self, busy: bool) -> None:
        """Show whether a job runs."""
        if not busy:
            self.ui.progressBar.value = 0
            self.ui.stageLabel.text = ""
        self.update()

    # -- what the widgets show -----------------------------------------------------------------------------------

    def source(self) -> ImageSelection:
        """Return the chosen image."""
        volume = self.ui.volumeSelector.currentNode()
        if volume is None:
            return ImageSelection(image=self.ui.studyBox.currentText)
        return ImageSelection(volume, self.ui.roiSelector.currentNode(), int(self.ui.sliceSpin.value))

    def _show_explanations(self) -> None:
        """List the explanations of the scene, and open their section where there is one."""
        self.viewer.refresh()
        if self.viewer.shown is not None:
            self.ui.lookSection.collapsed = False

    def _hide_results(self) -> None:
        """Hide our own results in the selectors of images and drawn regions."""
        ids = explanations.result_ids(self.logic.scene)
        for selector in (self.ui.volumeSelector, self.ui.segmentationSelector):
            selector.sortFilterProxyModel().hiddenNodeIDs = ids

    def update(self) -> None:
        """Enable the buttons that work now; the tool tips of the others say why not."""
        volume = self.ui.volumeSelector.currentNode()
        unready = ""
        if self.logic.busy:
            unready = _("Something is running.")
        elif self.logic.about is None:
            unready = _("Connect to a server first.")
        no_image = "" if volume is not None or self.ui.studyBox.currentText else _("Choose an image first.")
        look = _("Look at every patch of the image for what is worth explaining")
        search = _("Search the smallest plausible change for which the classifier changes its mind")
        for button, why, tip in (
            (self.ui.findButton, unready or no_image, look),
            (self.ui.classifyButton, unready or no_image, _("Ask the classifier")),
            (self.ui.explainButton, unready or no_image, search),
            (self.ui.refreshButton, unready, _("List the server's images again")),
            (self.ui.nextButton, unready, _("Let the server say which of its images to look at next")),
        ):
            button.enabled = not why
            button.toolTip = why or tip
        self.ui.connectButton.enabled = not self.logic.busy
        self.ui.cancelButton.enabled = self.logic.busy
        self.ui.progressBar.visible = self.logic.busy
        several = volume is not None and geometry_of(volume)[0][2] > 1
        flat = self.logic.spatial_dims == 2 and several
        self.ui.sliceSpin.enabled = flat
        self.ui.sliceHereButton.enabled = flat
        if flat and not self._slices:
            self.ui.partSection.collapsed = False
        self._slices = flat
        self.ui.roiSelector.enabled = volume is not None
        self.ui.studyBox.enabled = volume is None

    def _probabilities(self, probabilities: dict) -> None:
        """Show a bar for each class."""
        self._bars(
            (_("Class"), _("Probability")), [(name, f"{part:.1%}", part) for name, part in probabilities.items()]
        )

    def _value(self, name: str, amount: float, unit: str) -> None:
        """Show a value, and a bar for its place in the model's range."""
        low, high = self.logic.value.get("range") or (amount, amount)
        share = (amount - low) / (high - low) if high > low else 0.0
        text = value_texts.with_unit(amount, unit)
        self._bars((_("Measure"), _("Value")), [(name, text, min(max(share, 0.0), 1.0))])

    def _bars(self, headings: tuple[str, str], rows: list[tuple[str, str, float]]) -> None:
        """Show rows of a name, a number and the length of its bar in [0, 1]."""
        table = self.ui.probabilityTable
        for column, heading in enumerate(headings):
            table.horizontalHeaderItem(column).setText(heading)
        table.rowCount = len(rows)
        for row, (name, text, length) in enumerate(rows):
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, qt.QTableWidgetItem(text))
            bar = qt.QProgressBar()
            bar.maximum = 1000
            bar.value = round(1000 * length)
            bar.textVisible = False
            table.setCellWidget(row, 2, bar)

    def _may_send(self) -> bool:
        """Return whether the image may be sent; asks for consent before the first one to a host."""
        volume = self.ui.volumeSelector.currentNode()
        host = self.logic.consent_needed() if volume is not None else ""
        if not host:
            return True
        question = _(
            "The voxels and the geometry of {image} would leave this machine for {host}. Names and other tags of the "
            "patient are not sent, but may be burned into the image. Send images to {host}?"
        ).format(image=volume.GetName(), host=host)
        if self._confirm(question):
            self.logic.give_consent()
            return True
        self._show_message(_("Nothing was sent."))
        return False

    def _show_message(self, text: str) -> None:
        self.ui.trouble.text = text
        self.ui.trouble.visible = bool(text)

    def _connect(self) -> None:
        for name in (
            "connected", "listed", "offered", "progressed", "classified", "found", "explained", "compared", "saved",
            "failed", "cancelled", "busy_changed",
        ):  # fmt: skip
            self._connections.add(getattr(self.logic, name), getattr(self, name))
        ui = self.ui
        self._connections.add(ui.connectButton.clicked, self.on_connect)
        self._connections.add(ui.classifyButton.clicked, self.on_classify)
        self._connections.add(ui.explainButton.clicked, self.on_explain)
        self._connections.add(ui.cancelButton.clicked, self.on_cancel)
        self._connections.add(ui.refreshButton.clicked, lambda *_unused: self.logic.list_images())
        self._connections.add(ui.sliceHereButton.clicked, self.on_slice_here)
        self._connections.add(ui.volumeSelector.currentNodeChanged, self.on_volume)
        self._connections.add(ui.nextButton.clicked, self.on_next_case)
        self._connections.add(ui.findButton.clicked, self.on_find)
        self._connections.add(ui.roiSelector.currentNodeChanged, self.on_region)
        self._connections.add(ui.sliceSpin.valueChanged, self.on_image)
        self._connections.add(ui.studyBox.currentIndexChanged, self.on_image)
        self._connections.add(ui.targetBox.currentIndexChanged, self.on_choice)
        self._connections.add(ui.targetBox.editTextChanged, self.on_choice)
