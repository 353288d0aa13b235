"""Tables of commands: a path can be copied out of them, however narrow the window."""

from __future__ import annotations

import pytest
from rich.table import Table

from otherwise.cli.tables import print_table


@pytest.mark.parametrize("columns", ["40", "80", "300"])
def test_a_long_path_stands_on_one_line(
    columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    path = "a folder with a long name/" * 6 + "scan 1.nii.gz"
    table = Table("image", "files")
    table.add_row("1", path)
    table.add_row("2", "short")
    print_table(table)
    assert any(path in line for line in capsys.readouterr().out.splitlines())
