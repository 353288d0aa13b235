"""One image, one classifier, one agent: the whole explanation, in the image's own geometry."""
