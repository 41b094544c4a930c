"""Residuals of texts: computed, written to a file, kept in a cache."""
