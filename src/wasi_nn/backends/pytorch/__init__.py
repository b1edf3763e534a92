"""TorchScript archives and exported programs on PyTorch."""
