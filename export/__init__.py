"""The network as plain arrays, its golden model, and the file that carries it. Needs numpy and safetensors only."""

from export import reference, scores
from export.artifact import digest, load, save
from export.connections import Dense
from export.errors import UserError
from export.network import Encoder, Layer, Network
from export.neurons import Single

__all__ = ["Dense", "Encoder", "Layer", "Network", "Single", "UserError", "digest", "load", "reference", "save", "scores"]
