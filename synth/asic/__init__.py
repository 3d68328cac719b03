"""Standard cells: synthesis, memories as macros, timing, power."""
