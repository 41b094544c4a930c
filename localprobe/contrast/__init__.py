"""Contrast sets: pairs of texts that differ in one concept, scenarios, and reference texts."""
