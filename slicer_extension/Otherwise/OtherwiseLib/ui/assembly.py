"""Assemble the panel from its parts, with Slicer's own dialogs, timers and settings."""

from __future__ import annotations

from typing import Any, Callable

from ..logic.local_server import LocalServer
from ..logic.logic import Logic
from ..logic.models import Models
from ..logic.teacher import Teacher
from . import application
from .explanation_panel import ExplanationPanel
from .local_server_panel import LocalServerPanel
from .models_panel import ModelsPanel
from .panel import Panel
from .teaching_panel import TeachingPanel


def make_panel(ui: Any, logic: Logic, parameters: Callable[[], Any]) -> Panel:
    """Make the panel.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        logic: Does the work.
        parameters: Returns the ``Parameters`` of the present scene.
    """
    viewer = ExplanationPanel(ui, logic, application.open_page, application.ask_path, application.grab)
    teaching = TeachingPanel(ui, Teacher(logic, application.QtTimer), viewer, application.draw)
    models = ModelsPanel(ui, Models(logic, application.QtTimer), application.confirm)
    server = LocalServer(application.QtSettings(), application.QtTimer, application.outside_environment())
    local = LocalServerPanel(ui, server, application.ask_folder, application.show_text, logic.connect)
    return Panel(ui, logic, viewer, teaching, models, parameters, local, application.confirm)
