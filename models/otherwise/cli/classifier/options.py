"""Options that the commands of ``otherwise classifier`` share."""

from typing import Annotated

import typer

Size = Annotated[str, typer.Option(help="Voxels along each axis: columns,rows or columns,rows,slices.")]
Intensity = Annotated[str, typer.Option(help="low,high in the image's own units, mapped to 0..1.")]
Spacing = Annotated[str | None, typer.Option(help="Millimetres along each axis; without: whole field of view.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of an image.")]
Modality = Annotated[str, typer.Option(help="DICOM modality, such as MG or CT.")]
Find = Annotated[
    str | None,
    typer.Option(
        help="It looks at patches of larger images: the classes worth finding there, a,b; of a value: higher, lower "
        'or a threshold such as ">=20".'
    ),
]
Foreground = Annotated[
    float | None, typer.Option(help="With --find: only patches with values above this are looked at.")
]
Overlap = Annotated[
    float | None,
    typer.Option(help="With --find: share of its edge that a patch has in common with the next. Default: 0.5."),
]
Tissue = Annotated[
    float | None, typer.Option("--share", help="With --find: least share of tissue in a patch. Default: 0.25.")
]
Trust = Annotated[bool, typer.Option("--trust-code", help="Allow Python code that the bundle brings or names.")]
Replace = Annotated[bool, typer.Option("--replace", help="Replace an existing bundle.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Device = Annotated[str, typer.Option(help="Where PyTorch runs it: cpu, cuda, cuda:1, auto.")]
Unit = Annotated[str | None, typer.Option(help="Of a value: its unit, such as mm; 1: none.")]
Range = Annotated[
    str | None,
    typer.Option(
        "--range", help="Of a value: low,high that it can have. In a training: by default a tenth beyond the table's."
    ),
]
Measures = Annotated[str | None, typer.Option(help="What the value is, such as 'head circumference'.")]
HigherIs = Annotated[str | None, typer.Option(help="What a higher value means to the patient: worse or better.")]
Tolerance = Annotated[
    float | None, typer.Option(help="Distance within which a target value is reached. Default: a tenth of the spread.")
]
Times = Annotated[str | None, typer.Option(help="Of survival: boundaries of the intervals, 0 first.")]
Horizon = Annotated[float | None, typer.Option(help="Of survival and risk: time by which an event counts.")]
TimeUnit = Annotated[str | None, typer.Option(help="Of survival and risk: unit of times. Default: days.")]
