"""Widgets, and ways to draw text, that several screens share."""
