"""List the images of a folder at every depth, of one file, or of a table, for all commands."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from otherwise.errors import ImageError
from otherwise.images import exclusion
from otherwise.images.examination import Examined, ExaminedFiles, examine, examine_if_changed
from otherwise.images.formats.registry import image_name, strip_ending
from otherwise.images.names import is_file, is_utf8, printable
from otherwise.images.studies import Study, StudyImage, digest, group_studies
from otherwise.images.table import is_table, read_table

Progress = Callable[[int, int], None]
"""Called with the number of files examined and the total."""

_SAID_EVERY = 250


@dataclass(frozen=True)
class FoundImage:
    """One image of a source.

    Attributes:
        name: Its place: the path of its file within the source, or the folder of a DICOM series with ``#`` and the id
            that ``otherwise studies`` prints (``chest/ct#5d41402abc4b``).
        id: Display name, without a path; unique in its listing. It never contains patient data of DICOM.
        files: Its files; of a picture or volume the first is the one to read, and the others hold its voxels.
        series: Whether the files are the slices of one DICOM series.
        study: Id of its DICOM study, else empty.
        dicom: Its DICOM attributes; None for other formats.
        label: Class from the table; else empty.
        patient: Patient from the table; else empty.
    """

    name: str
    id: str
    files: tuple[Path, ...]
    series: bool = False
    study: str = ""
    dicom: StudyImage | None = None
    label: str = ""
    patient: str = ""

    @property
    def key(self) -> str:
        """Return the ID for ``--image``: 12 hexadecimal digits."""
        return self.dicom.id if self.dicom else digest(self.name)


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is left out.

    Attributes:
        name: Path within the source.
        reason: One of ``images.exclusion``.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The images of a source, sorted by name, and the files left out."""

    images: tuple[FoundImage, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def summary(self) -> str:
        """Return one line: how many images there are, how many files were left out, and why."""
        images = f"{len(self.images)} image{'' if len(self.images) == 1 else 's'}"
        return "; ".join(filter(None, (images, self.left_out_line)))

    @property
    def left_out_line(self) -> str:
        """Return how many files were left out, and why; empty where none was."""
        counts = Counter(item.reason for item in self.left_out)
        reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
        return f"left out: {reasons}" if reasons else ""

    @property
    def studies(self) -> tuple[Study, ...]:
        """Return DICOM images by study, each in the order of its series."""
        studies: dict[str, list[StudyImage]] = {}
        for image in self.images:
            if image.dicom is not None:
                studies.setdefault(image.study, []).append(image.dicom)
        return tuple(
            Study(id, tuple(sorted(images, key=lambda image: (image.number, image.view))))
            for id, images in studies.items()
        )


def list_images(
    source: Path,
    *,
    without: Path | None = None,
    progress: Progress = lambda done, total: None,
    examined: ExaminedFiles | None = None,
    empty: bool = False,
    masks: bool = False,
) -> Listing:
    """Find the images of a folder, a file or a table.

    A folder is searched at every depth. DICOM is recognised by its content and sorted into series: a stack of slices is
    one image, a view is one image. Other formats are recognised by content or by ending, in upper or lower case. Left
    out are, by rule: hidden files; masks, labels and truth by their names (``images.exclusion``);
    folders of explanations; DICOM objects without an image; links to folders, to themselves or to nothing; names that
    are not UTF-8. A damaged image is listed.

    Args:
        source: Folder, file, or table (CSV, TSV) with the columns ``file`` and perhaps ``label``, ``patient``, ``id``.
        without: A folder in it that is passed over: that of the results.
        progress: Told now and then.
        examined: Results of earlier listings; new ones are added.
        empty: Whether a folder without images is no error.
        masks: Whether masks and labels are what is looked for, so that none is left out for its name.

    Returns:
        Images with ids that differ.

    Raises:
        ImageError: if there is no such source, no image in it, or it cannot be looked into.
    """
    source = Path(source)
    if not is_utf8(str(source)):
        raise ImageError(f"The path {printable(str(source))} is not UTF-8.", "Rename the file or folder.")
    if is_table(source) and is_file(source):
        return _list_table(source)
    if is_file(source):
        return Listing((_only_file(source),))
    if not source.is_dir():
        raise ImageError(f"There is no file or folder {source.name}.", "Check the path.")
    left_out: list[LeftOut] = []
    entries = []
    for name, entry, in_truth in _walk(source, "", without, left_out):
        if not masks and (in_truth or _is_truth(entry.name)):
            left_out.append(LeftOut(name, exclusion.TRUTH))
        else:
            entries.append((name, entry))
    listing = _list_files(entries, left_out, progress, {} if examined is None else examined)
    if not listing.images and not empty:
        reasons = f" ({listing.left_out_line})" if listing.left_out else ""
        raise ImageError(
            f"There is no image in {source.name}{reasons}.",
            "Give a folder of DICOM, NIfTI, NRRD, MetaImage, PNG, JPEG or TIFF.",
        )
    return listing


def find_image(source: Path, key: str) -> FoundImage:
    """Find one image of a folder.

    Args:
        source: See :func:`list_images`.
        key: The beginning of :attr:`FoundImage.key`, as ``otherwise studies`` prints it, or the image's id or name.

    Raises:
        ImageError: if there is none or more than one.
    """
    images = list_images(source).images
    named = [image for image in images if key in (image.id, image.name, image.key)]
    found = named or [image for image in images if image.key.startswith(key)]
    if len(found) != 1:
        what = f"{len(found)} images" if found else "no image"
        raise ImageError(f"{Path(source).name} holds {what} {key!r}.", "otherwise studies FOLDER lists them.")
    return found[0]


def draw_images(images: Sequence[FoundImage], count: int, seed: int) -> tuple[FoundImage, ...]:
    """Return a random choice of images; equal seeds and images give equal choices.

    Args:
        images: To draw from.
        count: How many; all of them where there are fewer.
        seed: Of the draw.
    """
    if len(images) <= count:
        return tuple(images)
    drawn = sorted(images, key=lambda image: digest(f"{seed}:{image.name}"))[:count]
    return tuple(sorted(drawn, key=lambda image: image.name))


def _walk(
    folder: Path, within: str, without: Path | None, left_out: list[LeftOut], truth: bool = False
) -> Iterator[tuple[str, os.DirEntry[str], bool]]:
    """Yield files by name: path within the source, entry, whether it lies in a folder of masks, labels or truth."""
    try:
        with os.scandir(folder) as entries:
            items = sorted(entries, key=lambda item: item.name)
    except OSError as error:
        if not within:
            raise ImageError(
                f"{folder.name} cannot be looked into: {error.strerror}.", "Ask for the right to."
            ) from error
        left_out.append(LeftOut(within, exclusion.FORBIDDEN))
        return
    if any(item.name in exclusion.RESULT_FILES for item in items):
        left_out.append(LeftOut(within or ".", exclusion.RESULTS))
        return
    for item in items:
        name = f"{within}/{item.name}" if within else item.name
        if not is_utf8(item.name):  # it could neither be printed nor stored in JSON
            left_out.append(LeftOut(printable(name), exclusion.NAMES))
        elif exclusion.is_hidden(item.name):
            left_out.append(LeftOut(name, exclusion.HIDDEN))
        elif item.is_dir(follow_symlinks=False):
            if without is None or Path(item.path).resolve() != without.resolve():
                inside = truth or exclusion.is_truth_folder(item.name)
                yield from _walk(Path(item.path), name, without, left_out, inside)
        elif not is_file(item):
            left_out.append(LeftOut(name, exclusion.LINKS))
        else:
            yield name, item, truth


def _is_truth(name: str) -> bool:
    stem = strip_ending(name)
    return exclusion.is_truth_file(stem) and (stem != name or "." not in name)


def _list_files(
    entries: Sequence[tuple[str, os.DirEntry[str]]],
    left_out: list[LeftOut],
    progress: Progress,
    examined: ExaminedFiles,
) -> Listing:
    names: dict[Path, str] = {}
    found: dict[Path, Examined] = {}
    for done, (name, entry) in enumerate(entries):
        if done % _SAID_EVERY == 0:
            progress(done, len(entries))
        path = Path(entry.path)
        names[path], found[path] = name, examine_if_changed(entry, examined)
    progress(len(entries), len(entries))
    voxels = {path.parent / look.voxels for path, look in found.items() if look.voxels}
    images = []
    for study in group_studies(look.dicom for look in found.values() if look.dicom):
        for image in study.images:
            series = len(image.paths) > 1
            place = names[image.paths[0]]
            name = f"{place.rpartition('/')[0] or '.'}#{image.id}" if series else place
            id = image_name(image.paths[0].parent if series else image.paths[0])
            images.append(FoundImage(name, id, image.paths, series, study.id, image))
            left_out.extend(LeftOut(names[path], exclusion.COPIES) for path in image.copies)
    for path, look in found.items():
        if look.dicom or path in voxels:
            continue
        if look.reason:
            left_out.append(LeftOut(names[path], look.reason))
        else:
            images.append(FoundImage(names[path], image_name(path), look.files(path)))
    images.sort(key=lambda image: image.name)
    return Listing(tuple(_with_own_ids(images)), tuple(sorted(left_out, key=lambda item: item.name)))


def _only_file(path: Path) -> FoundImage:
    """Return the image of a source that is one file; of DICOM with its study, modality and view."""
    look = examine(path)
    if look.dicom is None:
        return FoundImage(path.name, image_name(path), look.files(path))
    (study,) = group_studies([look.dicom])
    (image,) = study.images
    return FoundImage(path.name, image_name(path), image.paths, False, study.id, image)


def _with_own_ids(images: Sequence[FoundImage]) -> Iterable[FoundImage]:
    """Distinguish images of one name: by their endings (``n.png``, ``n.nrrd``), else by their folders, else by key."""
    ways: tuple[Callable[[FoundImage], str], ...] = (
        lambda image: image.id,
        lambda image: image.id if image.series else image.files[0].name,
        lambda image: _with_folders(image, 1),
        lambda image: _with_folders(image, 2),
        lambda image: _with_folders(image, 99),
    )
    ids: dict[str, str] = {}
    groups: dict[str, list[FoundImage]] = {}
    for image in images:
        groups.setdefault(image.id, []).append(image)
    for group in groups.values():
        way = next((way for way in ways if len({way(image) for image in group}) == len(group)), None)
        for image in group:
            ids[image.name] = way(image) if way else f"{image.id}-{image.key[:6]}"
    taken = Counter(ids.values())
    for image in images:
        id = ids[image.name]
        yield replace(image, id=id if taken[id] == 1 else f"{id}-{image.key[:6]}")


def _with_folders(image: FoundImage, depth: int) -> str:
    folders = image.name.partition("#")[0].split("/")[:-1]
    return "-".join([*folders[-depth:], image.id])


def _list_table(table: Path) -> Listing:
    images = []
    lines: dict[str, int] = {}
    ids: dict[str, int] = {}
    for row in read_table(table):
        path = table.parent / row.file
        if is_table(path) and path.is_file():
            raise ImageError(f"{table.name} line {row.line}: {row.file} is a table.", "Name images in each line.")
        first = lines.setdefault(os.path.normpath(path.absolute()), row.line)
        if first != row.line:
            raise ImageError(
                f"{table.name} line {row.line} names {row.file} again, as line {first} does.",
                "Keep one line for each image.",
            )
        if row.id and ids.setdefault(row.id, row.line) != row.line:
            raise ImageError(
                f"{table.name} line {row.line} has the id {row.id}, as line {ids[row.id]} does.",
                "Give each image an id of its own.",
            )
        inside = list_images(path).images if path.exists() else ()
        if len(inside) != 1:
            what = f"{len(inside)} images are in {row.file}" if inside else f"there is no {row.file}"
            raise ImageError(
                f"{table.name} line {row.line}: {what}.", "Give a file, or a folder of one series, in each line."
            )
        id = row.id or inside[0].id
        images.append(replace(inside[0], name=row.file, id=id, label=row.label, patient=row.patient))
    return Listing(tuple(_with_own_ids(images)))
