"""From a word to a direction: pairs that models write on request, checked, fitted and validated."""

PAIRS, TEMPERATURE, TOKENS = 40, 0.7, 120
"""Defaults: pairs to write, one for each situation that ships; temperature and the most tokens of their texts."""
