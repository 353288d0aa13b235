"""The module without its face: what is asked, what is remembered, what comes back."""
