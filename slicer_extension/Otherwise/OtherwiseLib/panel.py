"""The panel: shows what the logic tells, and tells the logic what was pressed. Nothing is computed here."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import qt
from slicer.i18n import tr as _

from . import scene as scenes
from . import views, words
from .logic import Logic, Source

NEAREST = ""
FLICKER_MILLISECONDS = 250
LAYOUTS = (views.SIDE_BY_SIDE, views.FOUR, views.ONE)


class Panel:
    """The widgets of the module at work.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: What does the work.
        confirm: Asks a question with yes and no.
        open_page: Shows an HTML text.
        ask_path: Asks where to save: takes a suggestion, gives a path or an empty text.
        grab: Saves a picture of the views to a path.
    """

    def __init__(
        self,
        ui: Any,
        logic: Logic,
        confirm: Callable[[str], bool],
        open_page: Callable[[str, str], None],
        ask_path: Callable[[str], str],
        grab: Callable[[str], None],
    ) -> None:
        self.ui = ui
        self.logic = logic
        self._confirm, self._open_page, self._ask_path, self._grab = confirm, open_page, ask_path, grab
        self._shown: scenes.ShownExplanation | None = None
        self._flicker = qt.QTimer()
        self._flicker.interval = FLICKER_MILLISECONDS
        self._filling = False
        self._fill_once()
        self._connect()
        self.update()

    def close(self) -> None:
        """Stop timers and jobs, and hear of nothing any more."""
        self._flicker.stop()
        for signal, slot in self._slots():
            signal.disconnect(slot)
        self.logic.close()

    def scene_changed(self) -> None:
        """Look again at what the scene holds: after loading, and after it was closed."""
        self.refresh_shown()

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_connect(self, *_unused: object) -> None:
        """Test the connection."""
        user, secret = self.ui.userEdit.text.strip(), self.ui.passwordEdit.text
        self._tell("")
        if user:
            self.logic.connect(self.ui.addressEdit.text, user=user, password=secret)
        else:
            self.logic.connect(self.ui.addressEdit.text, token=secret)

    def on_classify(self, *_unused: object) -> None:
        """Classify the chosen image."""
        if self._may_send():
            self._tell("")
            self.logic.classify(self.source())

    def on_explain(self, *_unused: object) -> None:
        """Explain the chosen image."""
        if self._may_send():
            self._tell("")
            target = self.ui.targetBox.currentText if self.ui.targetBox.currentIndex > 0 else NEAREST
            self.logic.explain(self.source(), target)

    def on_cancel(self, *_unused: object) -> None:
        """Stop."""
        self.ui.stageLabel.text = _("Stopping …")
        self.logic.cancel()

    def on_slice_here(self, *_unused: object) -> None:
        """Take the slice that the views show."""
        from .image import slice_at

        volume = self.ui.volumeSelector.currentNode()
        node = self.logic.scene.GetFirstNodeByClass("vtkMRMLSliceNode")
        if volume is not None and node is not None:
            matrix = node.GetSliceToRAS()
            self.ui.sliceSpin.value = slice_at(volume, tuple(matrix.GetElement(row, 3) for row in range(3)))

    def on_volume(self, *_unused: object) -> None:
        """Another volume was chosen."""
        volume = self.ui.volumeSelector.currentNode()
        count = scenes.geometry_of(volume)[0][2] if volume is not None else 0
        self.ui.sliceSpin.maximum = max(0, count - 1)
        self.ui.sliceSpin.value = count // 2
        self.update()

    def on_shown(self, *_unused: object) -> None:
        """Another explanation was chosen."""
        if self._filling:
            return
        found = list(scenes.all_shown(self.logic.scene))
        index = self.ui.shownBox.currentIndex
        self._show(found[index] if 0 <= index < len(found) else None)

    def on_remove(self, *_unused: object) -> None:
        """Take the explanation out of the scene."""
        if self._shown is not None:
            shown, self._shown = self._shown, None
            scenes.remove(self.logic.scene, shown)
            self.refresh_shown()

    def on_layout(self, *_unused: object) -> None:
        """Arrange the views."""
        if self._shown is not None and not self._filling:
            views.set_layout(self.logic.scene, LAYOUTS[max(0, self.ui.layoutBox.currentIndex)])
            views.fill(self.logic.scene, self._shown, on_path=self.ui.pathSlider.value > 0)

    def on_blend(self, *_unused: object) -> None:
        """Blend original and counterfactual."""
        if self._shown is not None:
            views.blend(self.logic.scene, self._shown, self.ui.blendSlider.value / 100)

    def on_flicker(self, *_unused: object) -> None:
        """Begin or end to flicker."""
        if self.ui.flickerCheck.checked and self._shown is not None:
            self._flicker.start()
        else:
            self._flicker.stop()

    def on_flicker_turn(self, *_unused: object) -> None:
        """Change sides."""
        self.ui.blendSlider.value = 0 if self.ui.blendSlider.value > 50 else 100

    def on_path(self, *_unused: object) -> None:
        """Walk along the path: image and probability together."""
        if self._shown is None or self._filling:
            return
        step = self.ui.pathSlider.value
        browser = self._shown.get("browser")
        if browser is not None:
            browser.SetSelectedItemNumber(step)
            self.logic.update_frame(browser)
        views.fill(self.logic.scene, self._shown, on_path=True)
        self.ui.pathLabel.text = words.on_path(self._shown.content, step, _)

    def on_floor(self, *_unused: object) -> None:
        """Show changes above another floor."""
        node = self._shown.get("difference") if self._shown is not None else None
        if node is not None and not self._filling:
            scenes.set_floor(node, float(self.ui.floorSpin.value))

    def on_region(self, *_unused: object) -> None:
        """Go to a region, and show it alone."""
        row = self.ui.regionTable.currentRow()
        if self._shown is None or self._filling or not 0 <= row < len(self._shown.regions):
            return
        region = self._shown.regions[row]
        views.jump_to(self.logic.scene, tuple(region["centroid_ras"]))
        views.highlight(self._shown, region["label"])

    def on_report(self, *_unused: object) -> None:
        """Open the report."""
        page = self._page()
        if page:
            self._open_page(self._shown.id, page)

    def on_save_report(self, *_unused: object) -> None:
        """Write the report to a file."""
        page = self._page()
        path = self._ask_path(f"{self._shown.id}.html") if page else ""
        if path:
            Path(path).write_bytes(page.encode("utf-8"))

    def on_picture(self, *_unused: object) -> None:
        """Write a picture of the views."""
        path = self._ask_path(f"{self._shown.id}.png") if self._shown is not None else ""
        if path:
            self._grab(path)

    # -- what the logic tells ------------------------------------------------------------------------------------

    def connected(self, about: dict) -> None:
        """A server answered."""
        self.ui.serverLabel.text = words.hosted(about, _)
        self.ui.passwordEdit.text = ""
        self.ui.targetBox.clear()
        self.ui.targetBox.addItem(_("another class, the nearest"))
        for name in self.logic.classes:
            self.ui.targetBox.addItem(name)
        self.update()
        self.logic.list_images()

    def listed(self, images: list) -> None:
        """The server's images."""
        self.ui.studyBox.clear()
        for name in images:
            self.ui.studyBox.addItem(name)
        self.update()

    def progressed(self, stage: str, fraction: float) -> None:
        """A job goes on."""
        self.ui.progressBar.value = round(1000 * fraction)
        self.ui.stageLabel.text = words.stage(stage, _)

    def classified(self, answer: dict) -> None:
        """The classifier answered."""
        self._bars({score["label"]: score["score"] for score in answer["prediction"]})

    def explained(self, shown: scenes.ShownExplanation) -> None:
        """An explanation came."""
        self._bars(shown.content["prediction"]["probabilities"])
        self.refresh_shown(shown.id)
        self.ui.lookSection.collapsed = False

    def failed(self, error: BaseException) -> None:
        """Something did not work."""
        self._tell(words.trouble(error, _))
        if self.logic.about is None:
            self.ui.serverLabel.text = _("Not connected.")
        self.update()

    def cancelled(self) -> None:
        """A job was stopped."""
        self._tell(_("Stopped."))

    def busy_changed(self, busy: bool) -> None:
        """A job began or ended."""
        if not busy:
            self.ui.progressBar.value = 0
            self.ui.stageLabel.text = ""
        self.update()

    # -- what the widgets show -----------------------------------------------------------------------------------

    def source(self) -> Source:
        """What is chosen."""
        volume = self.ui.volumeSelector.currentNode()
        if volume is None:
            return Source(image=self.ui.studyBox.currentText)
        return Source(volume, self.ui.roiSelector.currentNode(), int(self.ui.sliceSpin.value))

    def update(self) -> None:
        """Enable what can be done now; what cannot says why."""
        volume = self.ui.volumeSelector.currentNode()
        why = ""
        if self.logic.busy:
            why = _("Something is running.")
        elif self.logic.about is None:
            why = _("Connect to a server first.")
        elif volume is None and not self.ui.studyBox.currentText:
            why = _("Choose an image first.")
        for button, tip in (
            (self.ui.classifyButton, _("Ask the classifier")),
            (
                self.ui.explainButton,
                _("Search the smallest plausible change for which the classifier changes its mind"),
            ),
        ):
            button.enabled = not why
            button.toolTip = why or tip
        self.ui.connectButton.enabled = not self.logic.busy
        self.ui.refreshButton.enabled = self.logic.about is not None and not self.logic.busy
        self.ui.cancelButton.enabled = self.logic.busy
        self.ui.progressBar.visible = self.logic.busy
        several = volume is not None and scenes.geometry_of(volume)[0][2] > 1
        flat = self.logic.spatial_dims == 2 and several
        self.ui.sliceSpin.enabled = flat
        self.ui.sliceHereButton.enabled = flat
        self.ui.roiSelector.enabled = volume is not None
        self.ui.studyBox.enabled = volume is None

    def refresh_shown(self, id: str = "") -> None:
        """List the explanations of the scene, and show the one of this id, or the one that was shown, or the newest."""
        found = list(scenes.all_shown(self.logic.scene))
        wanted = id or (self._shown.id if self._shown is not None else "")
        index = next((n for n, shown in enumerate(found) if shown.id == wanted), len(found) - 1)
        self._filling = True
        self.ui.shownBox.clear()
        for shown in found:
            self.ui.shownBox.addItem(f"{shown.content['image']['id']}: {shown.content['target']}")
        self.ui.shownBox.currentIndex = index
        self._filling = False
        self._show(found[index] if found else None)

    def _show(self, shown: scenes.ShownExplanation | None) -> None:
        self._shown = shown
        ui, some = self.ui, shown is not None
        self._filling = True
        for widget in (
            ui.shownBox, ui.removeButton, ui.layoutBox, ui.blendSlider, ui.flickerCheck, ui.pathSlider, ui.floorSpin,
            ui.regionTable, ui.reportButton, ui.saveReportButton, ui.pictureButton,
        ):  # fmt: skip
            widget.enabled = some
        ui.verdictLabel.text = words.verdict(shown.content, _) if some else _("Nothing has been explained yet.")
        warnings = words.warnings(shown.content, _) if some else []
        ui.warningLabel.text = "\n".join(f"⚠ {text}" for text in warnings)
        ui.warningLabel.visible = bool(warnings)
        ui.pathSlider.maximum = len(shown.path) - 1 if some else 0
        ui.pathSlider.value = 0
        ui.pathLabel.text = words.on_path(shown.content, 0, _) if some else ""
        ui.blendSlider.value = 0
        ui.flickerCheck.checked = False
        self._regions(shown.regions if some else [])
        if some:
            node = shown.get("difference")
            floor = scenes.typical_floor(shown.get("floor"))
            ui.floorSpin.singleStep = max(floor / 4, 1e-4)
            ui.floorSpin.value = floor
            if node is not None:
                scenes.set_floor(node, floor)
            views.set_layout(self.logic.scene, LAYOUTS[max(0, ui.layoutBox.currentIndex)])
            views.fill(self.logic.scene, shown)
            regions = shown.regions
            place = regions[0]["centroid_ras"] if regions else views.middle_of(shown.get("counterfactual"))
            views.jump_to(self.logic.scene, tuple(place))
            views.highlight(shown, None)
        self._filling = False

    def _regions(self, regions: list) -> None:
        table = self.ui.regionTable
        table.rowCount = len(regions)
        for row, region in enumerate(regions):
            name = (region.get("concept") or {}).get("name") or _("not named")
            flags = [_("yes") if region[key] else _("no") for key in ("sufficient", "necessary", "above_floor")]
            cells = [str(region["label"]), name, f"{region['effect']:+.2f}", f"{region['volume_mm3']:.1f}", *flags]
            for column, text in enumerate(cells):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def _bars(self, probabilities: dict) -> None:
        table = self.ui.probabilityTable
        table.rowCount = len(probabilities)
        for row, (name, value) in enumerate(probabilities.items()):
            table.setItem(row, 0, qt.QTableWidgetItem(name))
            table.setItem(row, 1, qt.QTableWidgetItem(f"{value:.1%}"))
            bar = qt.QProgressBar()
            bar.maximum = 1000
            bar.value = round(1000 * value)
            bar.textVisible = False
            table.setCellWidget(row, 2, bar)

    def _page(self) -> str:
        node = self._shown.get("report") if self._shown is not None else None
        return node.GetText() if node is not None else ""

    def _may_send(self) -> bool:
        """Ask for consent where an image would leave this machine for the first time."""
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
        self._tell(_("Nothing was sent."))
        return False

    def _tell(self, text: str) -> None:
        self.ui.trouble.text = text
        self.ui.trouble.visible = bool(text)

    def _fill_once(self) -> None:
        self.ui.addressEdit.text = self.logic.address
        for title in (_("Side by side"), _("With change and effect"), _("One view, to blend")):
            self.ui.layoutBox.addItem(title)
        self._tell("")
        self._show(None)

    def _slots(self) -> list:
        names = ("connected", "listed", "progressed", "classified", "explained", "failed", "cancelled", "busy_changed")
        return [(getattr(self.logic, name), getattr(self, name)) for name in names]

    def _connect(self) -> None:
        for signal, slot in self._slots():
            signal.connect(slot)
        ui = self.ui
        ui.connectButton.clicked.connect(self.on_connect)
        ui.classifyButton.clicked.connect(self.on_classify)
        ui.explainButton.clicked.connect(self.on_explain)
        ui.cancelButton.clicked.connect(self.on_cancel)
        ui.refreshButton.clicked.connect(lambda *_unused: self.logic.list_images())
        ui.sliceHereButton.clicked.connect(self.on_slice_here)
        ui.volumeSelector.currentNodeChanged.connect(self.on_volume)
        ui.shownBox.currentIndexChanged.connect(self.on_shown)
        ui.removeButton.clicked.connect(self.on_remove)
        ui.layoutBox.currentIndexChanged.connect(self.on_layout)
        ui.blendSlider.valueChanged.connect(self.on_blend)
        ui.flickerCheck.toggled.connect(self.on_flicker)
        ui.pathSlider.valueChanged.connect(self.on_path)
        ui.floorSpin.valueChanged.connect(self.on_floor)
        ui.regionTable.itemSelectionChanged.connect(self.on_region)
        ui.reportButton.clicked.connect(self.on_report)
        ui.saveReportButton.clicked.connect(self.on_save_report)
        ui.pictureButton.clicked.connect(self.on_picture)
        self._flicker.timeout.connect(self.on_flicker_turn)
