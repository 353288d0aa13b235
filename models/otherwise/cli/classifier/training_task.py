"""The task that ``otherwise classifier train`` learns: classes, a value, or survival."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otherwise.cli.classifier.output_kind import read_times, refuse_no_numbers
from otherwise.cli.options.image_source import named_images
from otherwise.cli.options.input_contract import UsageError, read_names, read_numbers
from otherwise.cli.progress import shown

if TYPE_CHECKING:
    from otherwise.blackbox.protocol import InputSpec
    from otherwise.blackbox.training.labelled_images import LabelledImages
    from otherwise.blackbox.training.objectives import Objective

Value = Annotated[str | None, typer.Option("--value", help="Learn a number: the table's column that has it.")]
Survival = Annotated[
    str | None, typer.Option("--survival", help="Learn survival: the table's columns TIME,EVENT (event: 1 or 0).")
]


@dataclass(frozen=True)
class TrainingTask:
    """A task that is learned from a table.

    Attributes:
        classes: Names in the order wanted; empty: those of the table.
        columns: Columns of numbers; empty: the column ``label`` is learned.
        fields: Fields of the ``OutputKind`` that were given.
        typed: The options, for the model card; of classes without their names.
    """

    classes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    typed: str = ""

    def read(self, images: str | Path, table: Path, inputs: InputSpec) -> LabelledImages:
        """Read the images of a table with their labels or numbers."""
        from otherwise.blackbox.training.labelled_images import read_labelled, read_numbered

        source = named_images(str(images))
        with shown("Reading images") as advance:

            def progress(done: int, total: int) -> None:
                advance("", done / total)

            if self.columns:
                return read_numbered(source, table, inputs, self.columns, progress)
            return read_labelled(source, table, inputs, self.classes or None, progress)

    def objective(self, data: LabelledImages, smoothing: float) -> Objective:
        """Return the objective of the training, given the images to learn from.

        Raises:
            BundleError: if the options do not fit each other or the table.
        """
        from otherwise.blackbox.output_kind import SURVIVAL, OutputKind
        from otherwise.blackbox.training.objectives import (
            ClassObjective,
            SurvivalObjective,
            ValueObjective,
            fitted_to,
        )

        if not self.columns:
            return ClassObjective(data.classes, smoothing)
        if self.fields["kind"] == SURVIVAL:
            return SurvivalObjective(OutputKind(**self.fields))
        return ValueObjective(fitted_to(self.fields, data.labels))


def read_task(
    *,
    classes: str | None,
    value: str | None,
    unit: str | None,
    value_range: str | None,
    survival: str | None,
    times: str | None,
    horizon: float | None,
    time_unit: str | None,
    measures: str | None,
    higher_is: str | None,
    tolerance: float | None,
) -> TrainingTask:
    """Return the task that is learned; options are as they were typed.

    Raises:
        UsageError: if an option is missing, or does not belong to what is learned.
        BundleError: if times or horizon are impossible.
    """
    from otherwise.blackbox.output_kind import OutputKind

    number = {"--measures": measures, "--higher-is": higher_is, "--tolerance": tolerance}
    of_value = {"--unit": unit, "--range": value_range}
    of_survival = {"--times": times, "--horizon": horizon, "--time-unit": time_unit}
    given = [name for name, typed in (("--classes", classes), ("--value", value), ("--survival", survival)) if typed]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} are two things to learn.", "Give one of them.")
    groups = (
        ("--value", value, of_value),
        ("--survival", survival, of_survival),
        ("--value", value or survival, number),
    )
    for main, wanted, options in groups:
        stray = next((option for option, typed in options.items() if typed is not None), None)
        if not wanted and stray:
            raise UsageError(f"{stray} belongs to {main}.", f"Give {main} too, or leave {stray} out.")
    refuse_no_numbers({"--tolerance": tolerance})
    common = {"name": measures, "higher_is": higher_is, "tolerance": tolerance}
    fields: dict[str, Any] = {key: typed for key, typed in common.items() if typed is not None}
    if value:
        if unit is None:
            raise UsageError("The unit of the value is missing.", "Give --unit, such as mm; 1 if it has none.")
        fields |= {"kind": "value", "unit": unit}
        if value_range is not None:
            fields["range"] = read_numbers("--range", value_range, 2)
        return TrainingTask((), (value,), fields, _typed({"--value": value, **of_value, **number}))
    if survival:
        columns = read_names(survival)
        if len(columns) != 2:
            raise UsageError(f"--survival {survival!r} does not name two columns.", "Give TIME,EVENT.")
        if times is None or horizon is None:
            raise UsageError(
                "--times and --horizon are missing.",
                "Such as --times 0,180,365,730 --horizon 730, in the table's unit.",
            )
        fields |= {"kind": "survival", "times": read_times(times), "horizon": horizon, "reading": "hazard-logits"}
        fields["time_unit"] = time_unit or "days"
        OutputKind(**fields)  # refuses impossible fields before the images are read
        return TrainingTask((), tuple(columns), fields, _typed({"--survival": survival, **of_survival, **number}))
    return TrainingTask(tuple(read_names(classes)) if classes else ())


def _typed(options: dict[str, Any]) -> str:
    parts = []
    for option, typed in options.items():
        if typed is not None:
            text = f"{typed:g}" if isinstance(typed, float) else str(typed)
            parts.append(f"{option}={text!r}" if " " in text else f"{option}={text}")
    return " ".join(parts)
