"""The hosted models, the worker thread that runs them, its queue, and an orderly shutdown."""
