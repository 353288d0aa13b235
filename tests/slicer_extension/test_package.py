"""What the Extensions Index asks for: every file is listed, and nothing runs or is installed by an import."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "slicer_extension" / "Otherwise"
LIBRARY = MODULE / "OtherwiseLib"
AT_FILE_SCOPE = {"slicer", "vtk", "qt", "ctk", "numpy", "OtherwiseLib"}
WITHIN_FUNCTIONS = AT_FILE_SCOPE | {"requests", "SampleData"}
SOURCES = sorted(path for path in MODULE.rglob("*.py") if "Testing" not in path.parts)


def listed(name: str) -> set[str]:
    """Files of one ``set(NAME ...)`` of the module's CMakeLists.txt."""
    text = (MODULE / "CMakeLists.txt").read_text()
    found = re.search(rf"set\({name}\s+(.*?)\)", text, re.DOTALL)
    assert found
    return {word.replace("${MODULE_NAME}", "Otherwise") for word in found.group(1).split()}


def test_every_script_and_resource_is_listed() -> None:
    scripts = {path.relative_to(MODULE).as_posix() for path in SOURCES}
    assert listed("MODULE_PYTHON_SCRIPTS") == scripts
    resources = {path.relative_to(MODULE).as_posix() for path in (MODULE / "Resources").rglob("*") if path.is_file()}
    assert listed("MODULE_PYTHON_RESOURCES") == resources


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_imports_at_file_scope_are_in_every_slicer(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = ast.Module([node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))], [])
    assert imports(top) - AT_FILE_SCOPE <= set(sys.stdlib_module_names)
    assert imports(tree) - WITHIN_FUNCTIONS <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_syntax_is_that_of_python_3_9(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    # Unions are written with | in annotations alone, which nobody evaluates.
    lazy = any(isinstance(n, ast.ImportFrom) and n.module == "__future__" for n in tree.body)
    assert lazy or path.name == "__init__.py"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_traps_of_pythonqt_are_avoided(path: Path) -> None:
    """Properties are attributes there, and signals, threads and event loops of Qt are not safe."""
    text = path.read_text(encoding="utf-8")
    properties = "currentText|currentIndex|count|checked|enabled|visible|value|maximum|minimum|toolTip|collapsed"
    called = re.findall(rf"\bui\.\w+\.({properties})\(", text)
    assert not called, f"called like methods: {called}"
    used = {ast.unparse(node) for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.Attribute, ast.Name))}
    traps = ("qt.Signal", "QThread", "processEvents", "pip_install", "exec_")
    assert not [name for name in used if name.endswith(traps)]


def test_the_module_file_is_short() -> None:
    assert len((MODULE / "Otherwise.py").read_text().splitlines()) < 120


def sets_text(tree: ast.AST) -> list[str]:
    """Assignments of bare texts to what people read."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Attribute) and t.attr in ("text", "toolTip") for t in node.targets)
        and isinstance(node.value, ast.Constant)
        and node.value.value
    ]


@pytest.mark.parametrize("path", sorted((LIBRARY / "ui").glob("*.py")), ids=lambda path: path.stem)
def test_every_visible_sentence_can_be_translated(path: Path) -> None:
    """Texts that the panel sets go through ``_`` or come from a module of texts, which is given a translator."""
    assert sets_text(ast.parse(path.read_text(encoding="utf-8"))) == []


MAY_USE = {
    "background": set(),
    "files": set(),
    "client": {"files", "background"},
    "mrml": {"files"},
    "samples": {"mrml", "files"},
    "logic": {"client", "mrml", "files", "background"},
    "ui": {"logic", "client", "mrml", "files", "background"},
}
"""The rooms of the extension, and which others each may use."""
WITHOUT_SLICER = {"background", "files", "client"}


def rooms_used(path: Path) -> set[str]:
    """Rooms that a file imports from, its own left out."""
    own, used = path.parent.name, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 2 and node.module:
            used.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == 2:
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("OtherwiseLib."):
            used.add(str(node.module).split(".")[1])
    return used - {own}


def test_arrows_between_the_rooms_point_one_way() -> None:
    assert {path.name for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"} == set(MAY_USE)
    wrong = {
        f"{path.parent.name}/{path.name}": sorted(rooms_used(path) - MAY_USE[path.parent.name])
        for room in MAY_USE
        for path in (LIBRARY / room).glob("*.py")
        if rooms_used(path) - MAY_USE[path.parent.name]
    }
    assert wrong == {}
    order: list[str] = []
    while len(order) < len(MAY_USE):
        free = [room for room in MAY_USE if room not in order and MAY_USE[room] <= set(order)]
        assert free, f"a circle among {set(MAY_USE) - set(order)}"
        order += free


def test_only_the_ui_knows_qt_and_the_lowest_rooms_not_even_slicer() -> None:
    for path in LIBRARY.rglob("*.py"):
        known = imports(ast.parse(path.read_text(encoding="utf-8")))
        assert "qt" not in known or path.parent.name == "ui", path
        assert not known & {"slicer", "vtk"} or path.parent.name not in WITHOUT_SLICER, path


def test_the_repository_itself_builds_the_extension() -> None:
    root = (ROOT / "CMakeLists.txt").read_text()
    exported = (ROOT / "slicer_extension" / "CMakeLists.txt").read_text()
    name = re.search(r"project\((\w+)\)", exported)
    assert name is not None
    assert f"project({name[1]})" in root
    assert "add_subdirectory(slicer_extension)" in root
