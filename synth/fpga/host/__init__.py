"""Host program: one driver for simulated boards and for real ones."""
