"""An archive that speaks DICOMweb (PS3.18): what it holds, and how its images come here."""
