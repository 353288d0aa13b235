"""Train an agent: images, lessons, training loop, checkpoints, validation."""
