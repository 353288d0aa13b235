"""Slices of a DICOM series as one multi-frame file, for tests of archives and reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import EnhancedCTImageStorage


def enhanced(files: list[Path]) -> FileDataset:
    """One image of many frames (PS3.3 A.38.1) that are in no order, under the first shuffled slice's own UIDs."""
    slices = [pydicom.dcmread(path) for path in files]
    slices = [slices[at] for at in np.random.default_rng(3).permutation(len(slices))]
    first: FileDataset = slices[0]
    shared, measures, orientation = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = first.PixelSpacing, first.SliceThickness
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    frames = []
    for one in slices:
        frame, position = Dataset(), Dataset()
        position.ImagePositionPatient = one.ImagePositionPatient
        frame.PlanePositionSequence = [position]
        frames.append(frame)
    first.PixelData = b"".join(one.PixelData for one in slices)
    for name in ("PixelSpacing", "SliceThickness", "ImageOrientationPatient", "ImagePositionPatient"):
        delattr(first, name)
    first.SOPClassUID = first.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    first.NumberOfFrames = len(slices)
    first.SharedFunctionalGroupsSequence, first.PerFrameFunctionalGroupsSequence = [shared], frames
    return first
