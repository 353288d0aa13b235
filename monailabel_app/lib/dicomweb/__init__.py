"""Studies of an archive that speaks DICOMweb (PS3.18): listed, fetched when they are asked for, and stored back to."""
