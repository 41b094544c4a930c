"""The Runs screen, and sweeps."""
