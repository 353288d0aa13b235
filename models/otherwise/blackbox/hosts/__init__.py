"""Hosts: one file for each kind of model (PyTorch, MONAI bundle, ONNX, Python function, model on another server)."""
