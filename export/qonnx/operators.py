"""Operators of QONNX, which onnx's reference evaluator does not know, and inference of ``BatchNormalization``.

Source of the formulas: the operators' descriptions in QONNX (https://github.com/fastmachinelearning/qonnx).
"""

from collections.abc import Callable

import numpy as np
from onnx.reference.op_run import OpRun

DOMAINS = ("onnx.brevitas", "qonnx.custom_op.general", "finn.custom_op.general")
"""Domains under which exporters write the same operators."""

ROUNDING: dict[str, Callable[[np.ndarray], np.ndarray]] = {"ROUND": np.round, "CEIL": np.ceil, "FLOOR": np.floor}
"""Of ``Quant``, by mode; ``np.round`` rounds halves to even numbers."""


class BipolarQuant(OpRun):
    """±scale: the sign of ``x / scale``, that of zero being +1."""

    def _run(self, x, scale):
        return (np.where(x / scale >= 0, scale, -scale).astype(x.dtype),)


class Quant(OpRun):
    """``x / scale + zero_point`` clipped to the range of an integer of ``bits`` bits and rounded, and back; signed, one bit is bipolar."""

    def _run(self, x, scale, zero_point, bits, signed=None, narrow=None, rounding_mode=None):
        bits, signed, narrow = int(bits), signed in (None, 1), narrow in (None, 1)
        x = x / scale + zero_point
        if signed and bits == 1:
            integers = np.where(x >= 0, 1, -1)
        else:
            greatest = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
            least = -(2 ** (bits - 1)) + narrow if signed else 0
            integers = ROUNDING[rounding_mode or "ROUND"](np.clip(x, least, greatest))
        return (((integers - zero_point) * scale).astype(np.float32),)


class MultiThreshold(OpRun):
    """``out_scale`` times the number of thresholds (channels or 1, levels) that ``x`` (frames, channels, …) reaches, plus ``out_bias``."""

    def _run(self, x, thresholds, out_scale=None, out_bias=None, out_dtype=None, data_layout=None):
        reached = (np.moveaxis(x, 1, -1)[..., None] >= thresholds).sum(axis=-1)
        scale, bias = np.float32(1 if out_scale is None else out_scale), np.float32(out_bias or 0)
        return (np.moveaxis(reached, -1, 1).astype(np.float32) * scale + bias,)


class BatchNormalization(OpRun):
    """With the statistics of training, whatever the version: before version 14, the evaluator's own takes ``momentum`` for training."""

    op_domain = ""

    def _run(self, x, scale, bias, mean, variance, epsilon=None, momentum=None, training_mode=None, spatial=None):
        scale, bias, mean, variance = (v.reshape(-1, *(1,) * (x.ndim - 2)) for v in (scale, bias, mean, variance))
        return ((scale * (x - mean) / np.sqrt(variance + np.float32(1e-5 if epsilon is None else epsilon)) + bias).astype(x.dtype),)


QUANTIZERS = {"BipolarQuant": BipolarQuant, "Quant": Quant, "IntQuant": Quant, "MultiThreshold": MultiThreshold}
OPERATORS = [
    BatchNormalization,
    *(type(name, (operator,), {"op_domain": domain}) for domain in DOMAINS for name, operator in QUANTIZERS.items()),
]
"""For ``ReferenceEvaluator(new_ops=…)``."""
