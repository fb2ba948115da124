"""Inpainting without torch: an exported network in ONNX Runtime, with NumPy and Pillow.

from lama.onnx import Inpainter
inpainter = Inpainter("lama.onnx")          # lama export model.path=small format=onnx out=lama.onnx
result = inpainter(image, mask)             # NumPy or PIL, any size; white = remove
"""

from lama.onnx.inpainter import Inpainter

__all__ = ["Inpainter"]
