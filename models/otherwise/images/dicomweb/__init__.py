"""List, fetch and store images of a DICOMweb archive (PS3.18)."""
