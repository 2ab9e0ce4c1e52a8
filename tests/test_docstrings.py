"""The examples in the docstrings run, and say what they say they do."""

import doctest
import importlib

import keras
import numpy as np
import pytest
from backends import BACKEND

import keras_ram

ON_TENSORFLOW = ("export.onnx", "export.saved_model")
MODULES = (
    *(ON_TENSORFLOW if BACKEND == "tensorflow" else ()),
    "attention_pooling",
    "callbacks",
    "canvases",
    "class_names",
    "datasets",
    "diagnosis",
    "extras",
    "field_of_view",
    "glimpse_cell",
    "glimpse_net",
    "glimpse_sensor",
    "guesses",
    "location_sampler",
    "looking",
    "peaks",
    "persistence",
    "pointing",
    "ram",
    "reinforce",
    "sizes",
    "stopping_curve",
    "trainers.compiling",
    "visualization",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_of(name):
    module = importlib.import_module(f"keras_ram.{name}")
    names = {"keras": keras, "keras_ram": keras_ram, "np": np}
    results = doctest.testmod(module, extraglobs=names)
    assert results.attempted > 0
    assert results.failed == 0
