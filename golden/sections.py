"""Sections of a preset: plain fields with their limits. Imports no torch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from .coefficients import MAX_DENDRITES

PositiveInt = Annotated[int, Field(ge=1)]
# The hardware sends all logits in one frame, which holds so many words.
MAX_CLASSES = 16383


class Section(BaseModel):
    """What all sections share: frozen, strict, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Where images come from and what they look like.

    Members
    -------
    dataset : ``"digits"`` (scikit-learn, 8x8), ``"fashion-mnist"`` (28x28), ``"none"`` (shape
        only), or the path of an ``.npz`` file, seen from the folder a command runs in, with
        arrays ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``; images are
        uint8 of shape (count, channels, height, width), or (count, height, width) for one channel,
        labels any integers from 0
    channels, height, width : shape of an image of unsigned 8-bit pixels
    classes : number of classes, at most :data:`MAX_CLASSES`
    """

    dataset: str
    channels: PositiveInt
    height: PositiveInt
    width: PositiveInt
    classes: Annotated[int, Field(ge=2, le=MAX_CLASSES)]

    @field_validator("dataset")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in ("digits", "fashion-mnist", "none") and not value.endswith(".npz"):
            raise ValueError(
                f"data.dataset is {value!r}: must be 'digits', 'fashion-mnist', 'none'"
                " or the path of an .npz file"
            )
        return value


class Stage(Section):
    """One step of patch splitting: Conv3x3 (padding 1), batch norm, spiking neuron, OR-pool.

    Members
    -------
    channels : output channels
    stride : 1 or 2
    pool : 2x2 max-pool of the spikes, which is an OR
    """

    channels: PositiveInt
    stride: Literal[1, 2] = 1
    pool: bool = False


class Neuron(Section):
    """The leaky integrate-and-fire neuron of every spiking layer.

    Members
    -------
    threshold : V_th in real units; a multiple of ``2**-frac_bits``
    decay_shift : s of ``beta = 1 - 2**-s``; 1 gives 1/2
    reset : ``"hard"`` (to 0) or ``"soft"`` (subtract V_th)
    """

    threshold: Annotated[float, Field(gt=0, le=1024)] = 1.0
    decay_shift: Annotated[int, Field(ge=1, le=16)] = 1
    reset: Literal["hard", "soft"] = "hard"


class Moe(Section):
    """Experts in place of each block's MLP.

    Members
    -------
    experts : number of experts, each a Linear, LIF, Linear, LIF of its own
    hidden : hidden channels of one expert
    mode : ``"topk"`` (the ``top_k`` experts with the highest scores, for all time steps of a
        token) or ``"semm"`` (the router spikes, and masks each expert's spikes per time step)
    top_k : k, experts a token in mode ``"topk"``
    """

    experts: Annotated[int, Field(ge=2, le=16)]
    hidden: PositiveInt
    mode: Literal["topk", "semm"] = "topk"
    top_k: PositiveInt = 1

    @property
    def most(self) -> int:
        """Experts that may work for one token."""
        return self.top_k if self.mode == "topk" else self.experts


class Network(Section):
    """Shape of the spiking transformer.

    Members
    -------
    time_steps : T
    stages : patch splitting, first to last, at least two: the first reads pixels, the last starts
        the residual stream, and its channels are D
    blocks, heads : L and H
    mlp_ratio : hidden channels of the MLP over D
    attention : ``"a2os2a"`` (binary Q, ReLU K, ternary V), ``"ssa"`` (all binary; set
        ``attention_scale_shift = 3`` for the usual 1/8),
        ``"lrf-ssa"`` (with a local branch on V), ``"causal"`` (only tokens already seen),
        ``"lrf-dyn"`` (dendrites charged token by token, local branch on what they read out)
    attention_scale_shift : scale of the attention result as ``2**-shift`` (0: no scale)
    qkv : ``"hybrid"`` (K and V as in A2OS2A), ``"binary"`` (as in SSA), or ``"auto"``: binary for
        ``"ssa"`` alone
    dilations : of the local branch's 3x3 kernels, rising; none switches the branch off
    local_causal : the local branch sees only tokens already seen
    causal_decay_shift : s of the causal state's decay ``1 - 2**-s`` a token (0: no decay)
    dendrites : compartments of each channel of ``"lrf-dyn"``
    projection : Linear and batch norm after attention (off: our reading of the paper)
    head_keep : p of D3 pruning: ``ceil(p * H)`` heads with the most ones in Q attend, others
        contribute nothing
    moe : experts in place of the MLP, whose ``mlp_ratio`` is then not used
    neuron : the LIF neuron
    """

    time_steps: Annotated[int, Field(ge=1, le=16)] = 4
    stages: Annotated[tuple[Stage, ...], Field(min_length=2, strict=False)]
    blocks: PositiveInt
    heads: PositiveInt
    mlp_ratio: PositiveInt = 4
    attention: Literal["a2os2a", "ssa", "lrf-ssa", "causal", "lrf-dyn"] = "a2os2a"
    attention_scale_shift: Annotated[int, Field(ge=0, le=8)] = 0
    qkv: Literal["auto", "hybrid", "binary"] = "auto"
    dilations: Annotated[
        tuple[Annotated[int, Field(ge=1, le=16)], ...], Field(max_length=4, strict=False)
    ] = (3, 5)
    local_causal: bool = False
    causal_decay_shift: Annotated[int, Field(ge=0, le=16)] = 0
    dendrites: Annotated[int, Field(ge=1, le=MAX_DENDRITES)] = MAX_DENDRITES
    projection: bool = False
    head_keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    moe: Moe | None = None
    neuron: Neuron = Neuron()

    @property
    def channels(self) -> int:
        """D, the channels of a token."""
        return self.stages[-1].channels

    @property
    def head_channels(self) -> int:
        """d, the channels of a head."""
        return self.channels // self.heads


class Quant(Section):
    """Number formats.

    Members
    -------
    weight_bits : signed synaptic weights
    frac_bits : F, fraction bits of residuals and membranes (Q-format of the residual stream)
    bias_bits : signed folded bias, in units of ``2**-F``
    key_bits, key_frac_bits : b and fraction bits of the clipped ReLU K
    local_bits, local_frac_bits : signed weights of the local branch on V, and their fraction bits
        below the unit of Q K^T V
    state_bits, state_frac_bits : signed state of a dendrite, and its fraction bits below the unit
        of K
    read_bits, read_frac_bits : what the dendrites of a channel read out, likewise
    """

    weight_bits: Annotated[int, Field(ge=2, le=8)] = 8
    frac_bits: Annotated[int, Field(ge=1, le=12)] = 8
    bias_bits: Annotated[int, Field(ge=4, le=32)] = 20
    key_bits: Annotated[int, Field(ge=1, le=8)] = 4
    key_frac_bits: Annotated[int, Field(ge=0, le=8)] = 2
    local_bits: Annotated[int, Field(ge=2, le=8)] = 8
    local_frac_bits: Annotated[int, Field(ge=0, le=6)] = 4
    state_bits: Annotated[int, Field(ge=4, le=24)] = 16
    state_frac_bits: Annotated[int, Field(ge=0, le=8)] = 4
    read_bits: Annotated[int, Field(ge=2, le=16)] = 8
    read_frac_bits: Annotated[int, Field(ge=0, le=8)] = 2


class Engine(Section):
    """Size of the hardware.

    Members
    -------
    tiles : E, datapaths side by side; each has its share of every layer's output channels, and its
        heads
    lanes : P, output channels of a tile's synaptic array in parallel
    neuron_lanes : neurons a tile evaluates a cycle, each over all T steps; divides ``lanes``
    attention_order : ``"kv"`` is Q (K^T V), ``"qk"`` is (Q K^T) V, ``"auto"`` the cheaper
    widths : accumulators for the weights of a ``"checkpoint"``, or for any of the ``"format"``
    counters : cycle and stall counters per layer, and of experts and tiles where there are experts
    queue_tokens : tokens that may wait for the experts of a tile
    """

    tiles: Literal[1, 2, 4, 8] = 1
    lanes: Annotated[int, Field(ge=1, le=256)]
    neuron_lanes: PositiveInt
    attention_order: Literal["auto", "kv", "qk"] = "auto"
    widths: Literal["checkpoint", "format"] = "checkpoint"
    counters: bool = True
    queue_tokens: Annotated[int, Field(ge=2, le=1024)] = 16

    @property
    def all_lanes(self) -> int:
        """Output channels that all tiles compute in parallel."""
        return self.tiles * self.lanes


# Side of a hybrid bond's pad.
BOND_UM = 0.8


class Asic(Section):
    """Standard cells and stacks of them. It changes no network, so no dump of a preset has it.

    Members
    -------
    flop_bits : memories of so many bits are flip-flops, larger ones macros
    bank_rows : rows of a bank of a deeper memory; the last one may have up to an eighth more
    bank_bits : widest macro; wider memories are split into equal parts
    gate_flops : least flip-flops that share a clock gate; 0 for no clock gating
    fanout : loads of a net above which it gets buffers
    utilisation : share of a tier's outline that cells fill
    pitch_um : between hybrid bonds, whose pads of :data:`BOND_UM` must not touch
    """

    flop_bits: Annotated[int, Field(ge=0)] = 256
    bank_rows: Literal[64, 128, 256, 512, 1024, 2048, 4096] = 512
    bank_bits: Annotated[int, Field(ge=8, le=1024)] = 128
    gate_flops: Annotated[int, Field(ge=0)] = 4
    fanout: Annotated[int, Field(ge=2)] = 24
    utilisation: Annotated[float, Field(gt=0, lt=1)] = 0.7
    pitch_um: Annotated[float, Field(gt=BOND_UM)] = 1.6


class Train(Section):
    """How the shipped checkpoint was trained.

    Members
    -------
    epochs : float epochs with batch norm
    quant_epochs : epochs with folded batch norm and quantised weights in the loop
    batch, learning_rate, quant_learning_rate, seed : as named
    firing_penalty : weight of the mean share of non-zero bundles in the loss
    balance_penalty : weight of the experts' load-balancing loss, mean over blocks
    start : checkpoint to start from, by the name of its preset; without batch norm, which is
        folded there; routers and experts start anew
    images : training images, the first so many; 0 for all
    shift_pixels : random shift of training images, 0 for none
    flip : random horizontal flip
    """

    epochs: PositiveInt
    quant_epochs: PositiveInt
    batch: PositiveInt
    learning_rate: Annotated[float, Field(gt=0)]
    quant_learning_rate: Annotated[float, Field(gt=0)]
    firing_penalty: Annotated[float, Field(ge=0)] = 0.0
    balance_penalty: Annotated[float, Field(ge=0)] = 0.0
    start: str | None = None
    images: Annotated[int, Field(ge=0)] = 0
    shift_pixels: Annotated[int, Field(ge=0)] = 0
    flip: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
