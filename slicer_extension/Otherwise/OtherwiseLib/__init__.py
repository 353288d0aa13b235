"""The parts of the Otherwise module; each file is one idea, and only ``panel`` and ``slicer_parts`` know Qt."""
