"""Measures of a text that need no model: wording, coherence, degeneration."""
