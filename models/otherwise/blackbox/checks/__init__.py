"""Check a classifier before it is used: can it be hosted, does it answer as its own pipeline, what does it see?"""
