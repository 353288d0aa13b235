"""The Explanation section of the panel: choose an explanation of the scene, and look at it."""

from __future__ import annotations

from typing import Any, Callable

import qt
import vtk
from slicer.i18n import tr as _

from ..background.signal import Signal
from ..files.explanation_files import place_of
from ..logic.logic import Logic
from ..mrml import charts, display, explanations, layouts, solid_view, view_nodes
from ..mrml.tables import size_key
from ..mrml.view_fit import ViewFit
from ..mrml.volumes import in_world, middle_of
from . import texts, value_texts
from .connections import Connections
from .report_files import ReportFiles

FLICKER_MILLISECONDS = 250
EFFECT_COLUMN, SIZE_COLUMN = 2, 3
"""Of the table of regions."""
LAYOUTS = (layouts.SIDE_BY_SIDE, layouts.FOUR, layouts.WITH_SOLID, layouts.ONE)


class ExplanationPanel:
    """Connects the widgets of the Explanation section with the scene.

    Signal: ``looked()`` when another explanation or region is chosen.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: Moves the path, and gets other methods' maps.
        open_page: Opens an HTML text, given a name and the text.
        ask_path: Asks where to save: takes a suggestion, returns a path or an empty text.
        grab: Saves a screenshot of the views to a path.
    """

    def __init__(
        self,
        ui: Any,
        logic: Logic,
        open_page: Callable[[str, str], None],
        ask_path: Callable[[str], str],
        grab: Callable[[str], None],
    ) -> None:
        self.ui = ui
        self.logic = logic
        self.shown: explanations.ShownExplanation | None = None
        self.looked = Signal()
        self._files = ReportFiles(logic, open_page, ask_path, grab)
        self._flicker = qt.QTimer()
        self._flicker.interval = FLICKER_MILLISECONDS
        self._filling = False
        self._methods: list[str] = []
        self._seen = ""
        self._observed: list[tuple[Any, int]] = []
        self._fit = ViewFit(
            lambda: view_nodes.slice_nodes(logic.scene, layouts.VIEWS), lambda call: qt.QTimer.singleShot(0, call)
        )
        for title in (
            _("Side by side"),
            _("With change and effect"),
            _("With regions in 3-D"),
            _("One view, to blend"),
        ):
            ui.layoutBox.addItem(title)
        self._connections = Connections()
        self._connect()
        self._show(None)

    def close(self) -> None:
        """Stop flickering, and disconnect everything."""
        self._flicker.stop()
        self._observe(None)
        self._fit.close()
        self._connections.close()

    def refresh(self, id: str = "") -> None:
        """List the explanations of the scene; show the newest of this id, else the one before, else the newest."""
        found = list(explanations.all_shown(self.logic.scene))
        kept = self.shown.key if self.shown is not None and not id else ""
        wanted = [n for n, shown in enumerate(found) if shown.key == kept or shown.id == id]
        index = wanted[-1] if wanted else len(found) - 1
        self._filling = True
        self.ui.shownBox.clear()
        for shown in found:
            self.ui.shownBox.addItem(f"{shown.image_name}: {value_texts.target_name(shown.content)}")
        self.ui.shownBox.currentIndex = index
        self._filling = False
        self._show(found[index] if found else None)

    def refresh_methods(self, chosen: str = "") -> None:
        """List the methods to compare with: those of the server, and those whose maps are in the scene."""
        there = self.shown.overlays if self.shown is not None else {}
        titles = {**there, **self.logic.methods}
        self._filling = True
        self._methods = ["", *titles]
        self.ui.overlayBox.clear()
        for title in (_("measured effect"), *titles.values()):
            self.ui.overlayBox.addItem(title)
        self.ui.overlayBox.currentIndex = self._methods.index(chosen) if chosen in self._methods else 0
        self.ui.overlayBox.enabled = self.shown is not None
        self._filling = False
        self._legend()

    @property
    def selected_label(self) -> int:
        """Label of the selected region; 0: none."""
        rows = [index.row() for index in self.ui.regionTable.selectionModel().selectedRows()]
        regions = self.shown.regions if self.shown is not None else []
        return int(regions[rows[0]]["label"]) if rows and rows[0] < len(regions) else 0

    def select(self, label: int) -> None:
        """Select a region, and go to it."""
        regions = self.shown.regions if self.shown is not None else []
        row = next((row for row, region in enumerate(regions) if region["label"] == label), -1)
        if row >= 0:
            # A row that is already selected would emit nothing.
            self.ui.regionTable.clearSelection()
            self.ui.regionTable.selectRow(row)

    def renamed(self) -> None:
        """Show the new names of the regions; everything else stays."""
        if self.shown is None or self.shown.node.GetScene() is None:
            return
        label = self.selected_label
        self.shown = explanations.ShownExplanation(self.shown.node)
        self._filling = True
        self._regions(self.shown.regions)
        row = next((row for row, region in enumerate(self.shown.regions) if region["label"] == label), -1)
        if row >= 0:
            self.ui.regionTable.selectRow(row)
        self._filling = False

    # -- what happens when something is pressed ------------------------------------------------------------------

    def on_shown(self, *_unused: object) -> None:
        """Show the chosen explanation."""
        if self._filling:
            return
        found = list(explanations.all_shown(self.logic.scene))
        index = self.ui.shownBox.currentIndex
        self._show(found[index] if 0 <= index < len(found) else None)

    def on_remove(self, *_unused: object) -> None:
        """Remove the explanation from the scene."""
        if self.shown is not None:
            shown, self.shown = self.shown, None
            explanations.remove(self.logic.scene, shown)
            self.refresh()

    def on_layout(self, *_unused: object) -> None:
        """Arrange the views."""
        if self.shown is not None and not self._filling:
            self._arrange()

    def on_overlay(self, *_unused: object) -> None:
        """Compare with another method, whose map is downloaded the first time."""
        if self.shown is None or self._filling:
            return
        method = self._method()
        if method and self.shown.overlay(method) is None:
            # Until the map is there, the list names the one that is seen.
            self.refresh_methods(self._seen)
            self.logic.compare(self.shown, method)
        else:
            self._fill()

    def compared(self, shown: explanations.ShownExplanation, method: str) -> None:
        """Show another method's map."""
        if self.shown is not None and shown.key == self.shown.key:
            self.refresh_methods(method)
            self._fill()

    def on_blend(self, *_unused: object) -> None:
        """Blend original and counterfactual."""
        if self.shown is not None:
            layouts.blend(self.logic.scene, self.shown, self.ui.blendSlider.value / 100)

    def on_flicker(self, *_unused: object) -> None:
        """Start or stop flickering."""
        if self.ui.flickerCheck.checked and self.shown is not None:
            self._flicker.start()
        else:
            self._flicker.stop()

    def on_flicker_turn(self, *_unused: object) -> None:
        """Change between original and counterfactual."""
        self.ui.blendSlider.value = 0 if self.ui.blendSlider.value > 50 else 100

    def on_grid(self, *_unused: object) -> None:
        """Show or hide the grid of a deformation."""
        transform = self.shown.get(explanations.DISPLACEMENT) if self.shown is not None else None
        if transform is not None:
            display.show_grid(transform, bool(self.ui.gridCheck.checked))

    def on_path(self, *_unused: object) -> None:
        """Go to a step of the path: image, probability and chart."""
        if self.shown is None or self._filling:
            return
        step = self.ui.pathSlider.value
        browser, here = self.shown.get("browser"), self.shown.get("here")
        if browser is not None:
            if browser.GetSelectedItemNumber() != step:
                browser.SetSelectedItemNumber(step)
            self.logic.update_frame(browser)
        if here is not None:
            charts.mark_place(here, self.shown.content, step)
        self._fill()
        self.ui.pathLabel.text = texts.on_path(self.shown.content, step, _)

    def browser_moved(self, *_unused: object) -> None:
        """Follow Slicer's own slider of the path."""
        browser = self.shown.get("browser") if self.shown is not None else None
        step = browser.GetSelectedItemNumber() if browser is not None else -1
        if step >= 0 and step != self.ui.pathSlider.value:
            self.ui.pathSlider.value = step

    def window_changed(self, *_unused: object) -> None:
        """Set the other images to the original's window and level."""
        if self.shown is not None:
            layouts.same_window(self.shown)

    def on_floor(self, *_unused: object) -> None:
        """Show changes above another floor."""
        node = self.shown.get("difference") if self.shown is not None else None
        if node is not None and not self._filling:
            display.set_floor(node, float(self.ui.floorSpin.value))

    def on_region(self, *_unused: object) -> None:
        """Go to the selected region, and highlight it."""
        row = self.ui.regionTable.currentRow()
        if self.shown is None or self._filling or not 0 <= row < len(self.shown.regions):
            return
        region = self.shown.regions[row]
        self._go(region["label"])
        layouts.highlight(self.shown, region["label"])
        self.looked.emit()

    def on_report(self, *_unused: object) -> None:
        """Open the report."""
        self._files.open(self.shown)

    def on_save_report(self, *_unused: object) -> None:
        """Save the report."""
        self._files.save(self.shown)

    def on_picture(self, *_unused: object) -> None:
        """Save a screenshot of the views."""
        self._files.save_screenshot(self.shown)

    # -- what the widgets show -----------------------------------------------------------------------------------

    def _show(self, shown: explanations.ShownExplanation | None) -> None:
        if self.shown is not None and (shown is None or shown.key != self.shown.key):
            self._hide_grid()
        self.shown = shown
        self._observe(shown)
        ui, some = self.ui, shown is not None
        self._filling = True
        for widget in (
            ui.shownBox, ui.removeButton, ui.layoutBox, ui.blendSlider, ui.flickerCheck, ui.pathSlider, ui.floorSpin,
            ui.regionTable, ui.reportButton, ui.saveReportButton, ui.pictureButton,
        ):  # fmt: skip
            widget.enabled = some
        ui.verdictLabel.text = texts.verdict(shown.content, _) if some else _("Nothing has been explained yet.")
        warnings = texts.warnings(shown.content, _) if some else []
        ui.warningLabel.text = "\n".join(f"⚠ {text}" for text in warnings)
        ui.warningLabel.visible = bool(warnings)
        ui.pathSlider.maximum = len(shown.path) - 1 if some else 0
        step = self._step(shown)
        ui.pathSlider.value = step
        ui.pathLabel.text = texts.on_path(shown.content, step, _) if some else ""
        if some and shown.get("here") is not None:
            charts.mark_place(shown.get("here"), shown.content, step)
        ui.blendSlider.value = 0
        ui.flickerCheck.checked = False
        transform = shown.get(explanations.DISPLACEMENT) if some else None
        ui.gridCheck.visible = transform is not None
        ui.gridCheck.checked = transform is not None and bool(transform.GetDisplayNode().GetVisibility())
        self._regions(shown.regions if some else [])
        self.refresh_methods()
        self._filling = True
        if some:
            node = shown.get("difference")
            floor = display.typical_floor(shown.get("floor"))
            ui.floorSpin.singleStep = max(floor / 4, 1e-4)
            ui.floorSpin.value = floor
            if node is not None:
                display.set_floor(node, floor)
            self._arrange()
            layouts.highlight(shown, None)
        else:
            self._fit.close()
        self._filling = False
        self.looked.emit()

    def _hide_grid(self) -> None:
        """Hide the grid of the present explanation, which views would show over the next one."""
        transform = self.shown.get(explanations.DISPLACEMENT)
        if transform is not None:
            display.show_grid(transform, False)

    def _observe(self, shown: explanations.ShownExplanation | None) -> None:
        """Observe what Slicer's own controls change about this explanation, and no longer the one before."""
        for node, tag in self._observed:
            node.RemoveObserver(tag)
        self._observed = []
        original = shown.get("original") if shown is not None else None
        watched = [
            (shown.get("browser") if shown is not None else None, self.browser_moved),
            (original.GetDisplayNode() if original is not None else None, self.window_changed),
        ]
        for node, slot in watched:
            if node is not None:
                self._observed.append((node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, slot)))

    def _arrange(self) -> None:
        """Arrange the views, and fit each to the image."""
        number = LAYOUTS[max(0, self.ui.layoutBox.currentIndex)]
        if number == layouts.WITH_SOLID and self.shown.get("regions") is not None:
            display.show_surfaces(self.shown.get("regions"))
        layouts.set_layout(self.logic.scene, number, survival=self.shown.get("survival") is not None)
        self._fill()
        image = self.shown.get("original") or self.shown.get("counterfactual")
        self._fit.show(image)
        if number == layouts.WITH_SOLID and self.shown.get("regions") is not None:
            solid_view.face(self.logic.scene, layouts.SOLID, self.shown.get("regions"), image)
        self._go(self.selected_label)

    def _fill(self) -> None:
        """Set what each view shows; zoom and position stay."""
        layouts.fill(self.logic.scene, self.shown, on_path=self.ui.pathSlider.value > 0, method=self._method())
        self._legend()

    def _go(self, label: int) -> None:
        """Go to a region; without one to the strongest region, or to the middle of the image."""
        regions = [region for region in self.shown.regions if region["label"] == label] or self.shown.regions
        volume = self.shown.get("counterfactual") or self.shown.get("original")
        if regions or volume is not None:
            place = place_of(regions[0], self.shown.content) if regions else middle_of(volume)
            layouts.jump_to(self.logic.scene, in_world(tuple(place), volume))

    def _step(self, shown: explanations.ShownExplanation | None) -> int:
        """Return the step of the path where the user left it, which the browser remembers."""
        browser = shown.get("browser") if shown is not None else None
        step = browser.GetSelectedItemNumber() if browser is not None else 0
        return min(max(0, step), len(shown.path) - 1) if shown is not None else 0

    def _method(self) -> str:
        index = self.ui.overlayBox.currentIndex
        return self._methods[index] if 0 <= index < len(self._methods) else ""

    def _legend(self) -> None:
        self._seen = self._method()
        self.ui.legendLabel.text = texts.legend(self.shown, self._method(), _) if self.shown is not None else ""

    def _regions(self, regions: list) -> None:
        table = self.ui.regionTable
        table.clearSelection()
        table.rowCount = len(regions)
        units = {"volume_mm3": "mm³", "area_mm2": "mm²", "voxels": _("pixels")}
        measure = size_key(regions)
        table.horizontalHeaderItem(SIZE_COLUMN).setText(units[measure])
        header, tip = value_texts.effect_header(self.shown.content if self.shown is not None else {}, _)
        table.horizontalHeaderItem(EFFECT_COLUMN).setText(header)
        table.horizontalHeaderItem(EFFECT_COLUMN).setToolTip(tip)
        for row, region in enumerate(regions):
            name = (region.get("concept") or {}).get("name") or _("not named")
            flags = [_("yes") if region[key] else _("no") for key in ("sufficient", "necessary", "above_floor")]
            size = str(region[measure]) if measure == "voxels" else f"{region[measure]:.1f}"
            cells = [str(region["label"]), name, f"{region['effect']:+.2f}", size, *flags]
            for column, text in enumerate(cells):
                table.setItem(row, column, qt.QTableWidgetItem(text))
        table.resizeColumnsToContents()

    def _connect(self) -> None:
        ui = self.ui
        for signal, slot in (
            (ui.shownBox.currentIndexChanged, self.on_shown),
            (ui.removeButton.clicked, self.on_remove),
            (ui.layoutBox.currentIndexChanged, self.on_layout),
            (ui.overlayBox.currentIndexChanged, self.on_overlay),
            (ui.blendSlider.valueChanged, self.on_blend),
            (ui.flickerCheck.toggled, self.on_flicker),
            (ui.gridCheck.toggled, self.on_grid),
            (ui.pathSlider.valueChanged, self.on_path),
            (ui.floorSpin.valueChanged, self.on_floor),
            (ui.regionTable.itemSelectionChanged, self.on_region),
            (ui.reportButton.clicked, self.on_report),
            (ui.saveReportButton.clicked, self.on_save_report),
            (ui.pictureButton.clicked, self.on_picture),
            (self._flicker.timeout, self.on_flicker_turn),
        ):
            self._connections.add(signal, slot)
