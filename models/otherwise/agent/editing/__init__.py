"""Edit an image so that the black box changes its answer: directions, rendering, search, refinement."""
