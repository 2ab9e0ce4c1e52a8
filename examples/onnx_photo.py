"""Says what is in a photo, with Pillow and ONNX Runtime alone.

python examples/onnx_photo.py ram.onnx photo.jpg
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession(sys.argv[1])
(images,) = session.get_inputs()
photo = Image.open(sys.argv[2])
if photo.mode.startswith("I"):  # of 16 bits, which `convert` would cut off at 255
    photo = photo.point(lambda value: value / 257)
photo = photo.convert("L" if images.shape[-1] == 1 else "RGB")
pixels = np.atleast_3d(photo)[None]  # (1, height, width, channels)
if images.type == "tensor(float)":
    pixels = (pixels / 255).astype("float32")
(probabilities,) = session.run(["probabilities"], {"images": pixels})[0]
names = json.loads(session.get_modelmeta().custom_metadata_map["keras_ram.class_names"])
print(f"{names[probabilities.argmax()]} ({probabilities.max():.1%})")
