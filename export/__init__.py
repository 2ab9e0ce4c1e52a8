"""Writes trained models for serving: SavedModel and ONNX."""

from keras_ram.export.onnx import export_onnx
from keras_ram.export.saved_model import export_saved_model

__all__ = ["export_onnx", "export_saved_model"]
