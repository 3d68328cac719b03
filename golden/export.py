"""From a trained, folded network to a checkpoint of integers."""

import numpy as np

from .checkpoint import Checkpoint
from .network import SpikingTransformer
from .spec import SpecError


def export(network: SpikingTransformer, info: dict[str, str]) -> Checkpoint:
    """Take the integers of a folded network.

    Raises
    ------
    ValueError
        If the network still has batch norm: fold it and train it on first.
    SpecError
        If a weight, bias or coefficient is not finite.
    """
    layers = network.synapses()
    if not all(layer.folded for layer in layers.values()):
        raise ValueError("the network is not folded: call fold() and train it with its integers")
    tensors = {name: (layer.weight, layer.bias) for name, layer in layers.items()}
    tensors |= {name: (values,) for name, values in network.coefficients().items()}
    for name, values in tensors.items():
        if not all(each.isfinite().all() for each in values):
            raise SpecError(
                f"weights of {name} are not finite: the training diverged, or its state is damaged"
            )
    checkpoint = Checkpoint(
        preset=network.preset,
        weights={k: v.integer_weight().detach().numpy().astype(np.int8) for k, v in layers.items()},
        biases={k: v.integer_bias().detach().numpy().astype(np.int32) for k, v in layers.items()},
        scales={name: layer.scale for name, layer in layers.items()},
        info=info,
        coefficients={
            name: values.detach().round().numpy().astype(np.int16)
            for name, values in network.coefficients().items()
        },
    )
    checkpoint.check(f"of {network.preset.name}")
    return checkpoint
