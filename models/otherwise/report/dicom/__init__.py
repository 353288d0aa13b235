"""One explanation as DICOM objects beside its source: segmentation, parametric maps, structured report."""
