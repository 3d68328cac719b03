"""Netlists cut for 3D stacking: assignment, bonds, placement, figures and files of open flows."""
