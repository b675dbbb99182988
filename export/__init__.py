"""The network as plain arrays, its golden model, and the file that carries it. Needs numpy and safetensors only."""

from export import reference, scores
from export.artifact import digest, load, save
from export.connections import Dense
from export.convolution import Conv2d
from export.encoder import Encoder
from export.errors import UserError
from export.events import Events
from export.layer import Layer
from export.network import Network
from export.neurons import Readout, Single
from export.pooling import Pool2d
from export.reset_neurons import Graded, Rate, Ternary

__all__ = [
    "Conv2d",
    "Dense",
    "Encoder",
    "Events",
    "Graded",
    "Layer",
    "Network",
    "Pool2d",
    "Rate",
    "Readout",
    "Single",
    "Ternary",
    "UserError",
    "digest",
    "load",
    "reference",
    "save",
    "scores",
]
