"""The network as plain arrays, its golden model, and the file that carries it. Needs numpy and safetensors only."""

from export import reference, scores
from export.artifact import digest, load, save
from export.connections import Dense
from export.encoder import Encoder
from export.errors import UserError
from export.events import Events
from export.network import Layer, Network
from export.neurons import Graded, Rate, Readout, Single, Ternary

__all__ = [
    "Dense",
    "Encoder",
    "Events",
    "Graded",
    "Layer",
    "Network",
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
