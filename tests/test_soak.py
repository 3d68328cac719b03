"""Random tokens through dispatcher, queues and merges; what is lost or misplaced would be seen."""

import pytest
from amaranth.hdl import Module

import sim.dispatch_soak
from hw.aligned_merge import AlignedMerge
from hw.expert_exit import ExpertExit
from sim.dispatch_soak import Shape
from sim.soak import soak

pytestmark = pytest.mark.slow
SMALL = Shape(tiles=2, experts=4, steps=1, tokens=16, queue=2)


class Loses(AlignedMerge):
    """Lets the second source go when it takes the first."""

    def elaborate(self, platform) -> Module:
        """Add what is wrong."""
        m = super().elaborate(platform)
        with m.If(self.i[0].ready):
            m.d.comb += self.i[1].ready.eq(1)
        return m


class Misplaces(ExpertExit):
    """Sends the slices of some tokens to the rows of others."""

    def elaborate(self, platform) -> Module:
        """Add what is wrong."""
        m = super().elaborate(platform)
        m.d.comb += self.o.payload.payload.row[1].eq(0)
        return m


def test_no_token_is_lost():
    found = soak(None, 1500, shape=SMALL)
    assert found["tokens"] >= 1500 and found["served"] > 1500
    assert (found["lost"], found["doubled"], found["wrong"]) == (0, 0, 0)


def test_losses_and_doubles_are_seen(monkeypatch):
    monkeypatch.setattr(sim.dispatch_soak, "AlignedMerge", Loses)
    found = soak(None, 200, shape=SMALL)
    assert found["lost"] > 0 and not found["doubled"]
    monkeypatch.setattr(sim.dispatch_soak, "AlignedMerge", AlignedMerge)
    monkeypatch.setattr(sim.dispatch_soak, "ExpertExit", Misplaces)
    found = soak(None, 200, shape=SMALL)
    assert found["lost"] > 0 and found["doubled"] > 0
