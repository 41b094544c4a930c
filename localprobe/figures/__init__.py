"""Figures of reports and results, drawn on given matplotlib Axes."""
