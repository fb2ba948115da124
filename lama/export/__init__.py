"""A network as one file for other runtimes (TorchScript, ONNX, torch.export), read again and compared."""

from lama.export.model import export_model

__all__ = ["export_model"]
