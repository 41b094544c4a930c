"""Probes: a direction fitted on contrast pairs, and measures of how well it separates them."""
