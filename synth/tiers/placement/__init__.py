"""Placement of macros and cells on one tier or several, by the same engine."""
