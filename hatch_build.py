"""What a wheel carries beside the package: the shipped bundles and the MONAI Label app.

An editable install finds both in the repository, and copies neither.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE_DATA = {
    "models/bundles": "otherwise/_bundles",
    # Not the whole folder: MONAI Label writes its logs into it, and .gitignore does not filter these files.
    "monailabel_app/main.py": "otherwise/_app/main.py",
    "monailabel_app/lib": "otherwise/_app/lib",
}


class PackageData(BuildHookInterface):  # type: ignore[misc]
    """Adds the files to a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files, unless the wheel is an editable one."""
        if version != "editable":
            build_data["force_include"].update(PACKAGE_DATA)
