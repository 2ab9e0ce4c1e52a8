"""Writes trained models for serving: SavedModel and ONNX."""

import keras

if keras.backend.backend() == "tensorflow":
    from keras_ram.export.onnx import export_onnx
    from keras_ram.export.saved_model import export_saved_model
else:
    from keras_ram.export.other_backends import export_onnx, export_saved_model

__all__ = ["export_onnx", "export_saved_model"]
