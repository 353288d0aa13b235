"""What people said of images: terms, regions, and an append-only store of annotations. Knows only images."""
