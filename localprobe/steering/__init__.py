"""Steering: a direction at a strength, and the positions where it applies."""
