"""The Recurrent Attention Model for Keras 3."""

from keras_ram import callbacks, datasets, reinforce
from keras_ram.diagnosis import vital_signs
from keras_ram.glimpse_net import GlimpseNet
from keras_ram.glimpse_sensor import GlimpseSensor
from keras_ram.location_sampler import LocationSampler
from keras_ram.ram import RAM
from keras_ram.visualization import (
    animate_glimpses,
    plot_glimpses,
    plot_location_map,
)

__all__ = [
    "GlimpseNet",
    "GlimpseSensor",
    "LocationSampler",
    "RAM",
    "animate_glimpses",
    "callbacks",
    "datasets",
    "plot_glimpses",
    "plot_location_map",
    "reinforce",
    "vital_signs",
]
