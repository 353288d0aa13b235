"""Check a classifier before use: can it be hosted, does it answer as the original pipeline, what are its inputs?"""
