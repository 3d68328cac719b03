"""Proofs and simulations that a netlist does what the one before it did."""
