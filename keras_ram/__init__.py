"""The Recurrent Attention Model for Keras 3."""

from keras_ram import callbacks, datasets, reinforce
from keras_ram.attention_pooling import AttentionPooling2D
from keras_ram.diagnosis import vital_signs
from keras_ram.field_of_view import retina
from keras_ram.glimpse_cell import GlimpseCell
from keras_ram.glimpse_net import GlimpseNet
from keras_ram.glimpse_sensor import GlimpseSensor
from keras_ram.location_sampler import LocationSampler
from keras_ram.peaks import Peaks
from keras_ram.pointing import Pointing
from keras_ram.ram import RAM
from keras_ram.sizes import pad_images
from keras_ram.stopping_curve import (
    cheapest_confidence,
    plot_stopping_curve,
    stopping_curve,
)
from keras_ram.visualization import (
    animate_glimpses,
    plot_glimpses,
    plot_location_map,
)

__version__ = "0.1.0"

__all__ = [
    "AttentionPooling2D",
    "GlimpseCell",
    "GlimpseNet",
    "GlimpseSensor",
    "LocationSampler",
    "Peaks",
    "Pointing",
    "RAM",
    "animate_glimpses",
    "callbacks",
    "cheapest_confidence",
    "datasets",
    "pad_images",
    "plot_glimpses",
    "plot_location_map",
    "plot_stopping_curve",
    "reinforce",
    "retina",
    "stopping_curve",
    "vital_signs",
]
