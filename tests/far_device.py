"""A device that is not the CPU, for machines that have no other: tensors in the same memory that refuse to meet those of the CPU.

Such a tensor reports the device ``meta``, but has values, so that everything runs that depends on them. What CUDA refuses is refused:
operations on both kinds at once, and ``numpy``. What CUDA takes is taken: numbers as CPU tensors without dimensions, CPU tensors as
indices, and copies.
"""

from contextlib import contextmanager

import torch
from torch.optim import optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_")


class Far(torch.Tensor):
    """A tensor on the far device, and the one on the CPU that holds its values."""

    @staticmethod
    def __new__(cls, near):
        layout = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        return torch.Tensor._make_wrapper_subclass(cls, near.shape, device=DEVICE, **layout)

    def __init__(self, near):
        self.near = near

    def tolist(self):
        return self.near.tolist()

    def numpy(self):
        raise TypeError("a tensor on another device must go to the CPU first")

    @classmethod
    def __torch_dispatch__(cls, operation, types, arguments=(), options=None):
        return dispatch(operation, arguments, options or {})


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        return dispatch(operation, arguments, options or {})


def dispatch(operation, arguments, options):
    """Run an operation on the near tensors; what comes out is far if what went in was, or if the far device is named."""
    name = operation.overloadpacket.__name__
    far = [tensor for tensor in _tensors((arguments, options)) if isinstance(tensor, Far)]
    near = [tensor for tensor in _tensors((arguments, options)) if not isinstance(tensor, Far) and tensor.ndim]
    if name in INDEXING and isinstance(arguments[0], Far):  # the indices may be on the CPU
        near = [tensor for tensor in _tensors(arguments[2:]) if not isinstance(tensor, Far) and tensor.ndim]
    if far and near and name != "copy_":
        raise RuntimeError(f"{operation} must have all tensors on one device")
    to = options.get("device")
    result_is_far = bool(far) if to is None else torch.device(to) == DEVICE
    options = options if to is None else {**options, "device": torch.device("cpu")}
    out = operation(*tree_map(_near, arguments), **tree_map(_near, options))
    if not result_is_far:
        return out
    same = {id(tensor.near): tensor for tensor in far}  # in place

    def wrapped(value):
        return same[id(value)] if id(value) in same else _far(value)

    return tree_map(wrapped, out)


def _tensors(values):
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _near(value):
    return value.near if isinstance(value, Far) else value


def _far(value):
    return Far(value) if isinstance(value, torch.Tensor) else value


@contextmanager
def far_device(monkeypatch):
    """The far device, while the block runs."""
    fused = [*optimizer._get_fused_kernels_supported_devices(), DEVICE.type]
    monkeypatch.setattr(optimizer, "_get_fused_kernels_supported_devices", lambda: fused)
    with _Mode():
        yield DEVICE
