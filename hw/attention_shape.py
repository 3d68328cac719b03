"""Shape of an attention core: what its parts agree on."""

from dataclasses import dataclass

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from golden.widths import attention_bits, kv_state_bits, score_bits, signed_bits

from .local_values import LocalTerm


@dataclass(frozen=True, kw_only=True)
class AttentionShape:
    """Sizes of an attention core, checked, and the widths and payloads that follow from them.

    Parameters
    ----------
    time_steps : T
    tokens : N
    heads : H
    head_channels : d
    lanes : NL, channels of a slice; divides d
    key_bits : b, bits of K
    value_bits : bits of a value on the core's input, at least 2 and at least b
    local : branch whose sums are added before the neuron, if any

    Raises
    ------
    ValueError
        If a size is below 1, ``lanes`` does not divide d or ``value_bits`` is too small.
    """

    time_steps: int
    tokens: int
    heads: int
    head_channels: int
    lanes: int
    key_bits: int
    value_bits: int
    local: LocalTerm | None = None

    def __post_init__(self) -> None:
        names = ("time_steps", "tokens", "heads", "head_channels", "lanes", "key_bits")
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: must be at least 1")
        if self.head_channels % self.lanes:
            raise ValueError(
                f"lanes is {self.lanes}: must divide head_channels, {self.head_channels}"
            )
        if self.value_bits < max(2, self.key_bits):
            raise ValueError(
                f"value_bits is {self.value_bits}: must be at least {max(2, self.key_bits)},"
                f" for ternary V and K of {self.key_bits} bits"
            )

    @property
    def slices(self) -> int:
        """Slices of a head: d / NL."""
        return self.head_channels // self.lanes

    @property
    def jobs(self) -> int:
        """Heads of all tokens of an image: N * H."""
        return self.tokens * self.heads

    @property
    def rows(self) -> int:
        """Rows of the state of K: H * T * d."""
        return self.heads * self.time_steps * self.head_channels

    @property
    def state_bits(self) -> int:
        """Signed bits of a word of ``K^T V``."""
        return kv_state_bits(self.key_bits, self.tokens)

    @property
    def score_bits(self) -> int:
        """Unsigned bits of a word of ``Q K^T``."""
        return score_bits(self.key_bits, self.head_channels)

    @property
    def sum_bits(self) -> int:
        """Signed bits of a word of ``Q K^T V``."""
        return attention_bits(self.key_bits, self.head_channels, self.tokens)

    @property
    def frac_bits(self) -> int:
        """Bits of the neuron's input below the unit of ``Q K^T V``."""
        return self.local.frac_bits if self.local else 0

    @property
    def most(self) -> int:
        """Largest size of the neuron's input."""
        everywhere = self.head_channels * self.tokens * (2**self.key_bits - 1)
        return (everywhere << self.frac_bits) + (self.local.most if self.local else 0)

    @property
    def input_bits(self) -> int:
        """Signed bits of the neuron's input."""
        return signed_bits(-self.most, self.most)

    def charge_layout(self) -> data.StructLayout:
        """One non-zero K with its V: ``last`` marks the last one of a token's head and step.

        In ``values``, bit 0 is "not zero" and bit 1 is "minus".
        """
        return data.StructLayout(
            {
                "token": range(self.tokens),
                "head": range(self.heads),
                "step": range(self.time_steps),
                "index": range(self.head_channels),
                "key": unsigned(self.key_bits),
                "values": data.ArrayLayout(unsigned(2), self.head_channels),
                "last": 1,
            }
        )

    def query_layout(self) -> data.StructLayout:
        """One Q of 1: ``last`` ends a time step; a silent step is one event not ``present``."""
        return data.StructLayout(
            {
                "head": range(self.heads),
                "step": range(self.time_steps),
                "index": range(self.head_channels),
                "present": 1,
                "last": 1,
            }
        )

    def result_layout(self) -> data.StructLayout:
        """The d sums of ``Q K^T V`` of one token, head and time step."""
        return data.StructLayout(
            {"sums": data.ArrayLayout(signed(self.sum_bits), self.head_channels)}
        )

    def input_layout(self) -> data.StructLayout:
        """The d inputs of the neurons in one time step."""
        return data.StructLayout(
            {"sums": data.ArrayLayout(signed(self.input_bits), self.head_channels)}
        )
