"""Delay, load and energy of wires whose length alone is known.

Resistance and capacitance are those that OpenROAD-flow-scripts uses for signals on this library
(metal3). A wire longer than the best distance of repeaters has repeaters, so its delay grows with
its length and not with the square of it.
"""

import math
from dataclasses import dataclass

from golden.sections import BOND_UM

from .cells import Cell

# A via in um: diameter of the copper, oxide around it, and the silicon that it goes through.
VIA_UM, LINER_UM, PIERCED_UM = BOND_UM, 0.1, 5.0
_OXIDE_FF_PER_UM = 3.9 * 8.854e-3
_COPPER_KOHM_UM = 1.7e-5
VIA_FF = 2 * math.pi * _OXIDE_FF_PER_UM * PIERCED_UM / math.log(1 + 2 * LINER_UM / VIA_UM)
VIA_KOHM = _COPPER_KOHM_UM * PIERCED_UM / (math.pi * VIA_UM**2 / 4)


@dataclass(frozen=True)
class Joints:
    """Between tiers: hybrid bonds, and how many of them are on a via through silicon."""

    bonds: int = 0
    vias: int = 0


NO_JOINTS = Joints()


@dataclass(frozen=True)
class Wires:
    """How wires behave.

    Members
    -------
    ff_per_um, kohm_per_um : of a signal wire
    repeater : buffer that a long wire has at every ``span_um``
    bond_ff, bond_kohm : of a hybrid bond: a pad of 0.8 um, 3 ohm
    via_ff, via_kohm : of a via through silicon
    """

    repeater: Cell
    ff_per_um: float = 0.105
    kohm_per_um: float = 0.0036
    bond_ff: float = 1.0
    bond_kohm: float = 0.003
    via_ff: float = VIA_FF
    via_kohm: float = VIA_KOHM

    @property
    def span_um(self) -> float:
        """Distance of repeaters that makes a long wire fastest."""
        stage = self.repeater.delay_ps + self.repeater.ps_per_ff * self.repeater.input_ff
        return math.sqrt(2 * stage / (self.kohm_per_um * self.ff_per_um))

    def joints_ff(self, joints: Joints) -> float:
        """Load of bonds and vias."""
        return self.bond_ff * joints.bonds + self.via_ff * joints.vias

    def driven_ff(self, length_um: float, joints: Joints = NO_JOINTS) -> float:
        """Load of a wire on its driver: all of it, or up to the first repeater."""
        return self.ff_per_um * min(length_um, self.span_um) + self.joints_ff(joints)

    def delay_ps(self, length_um: float, pins_ff: float, joints: Joints = NO_JOINTS) -> float:
        """Delay from one end of a wire to the other, loaded by the pins at its end."""
        kohm = self.kohm_per_um * min(length_um, self.span_um)
        kohm += self.bond_kohm * joints.bonds + self.via_kohm * joints.vias
        first = kohm * (self.driven_ff(length_um, joints) / 2 + pins_ff)
        beyond = length_um - self.span_um
        return first if beyond <= 0 else first + beyond * self._ps_per_um

    @property
    def _ps_per_um(self) -> float:
        span = self.span_um
        stage = self.repeater.delay_ps + self.repeater.ps_per_ff * self.repeater.input_ff
        return (
            stage / span
            + self.repeater.ps_per_ff * self.ff_per_um
            + self.kohm_per_um * (self.repeater.input_ff + self.ff_per_um * span / 2)
        )

    def energy_fj(self, length_um: float, voltage: float, joints: Joints = NO_JOINTS) -> float:
        """Energy of one transition of a wire, with its repeaters."""
        repeaters = int(length_um / self.span_um)
        farads = (
            self.ff_per_um * length_um + self.joints_ff(joints) + repeaters * self.repeater.input_ff
        )
        return farads * voltage**2 / 2 + repeaters * self.repeater.energy_fj
