"""Sweeps over strengths of a direction, and measures of what they did."""
