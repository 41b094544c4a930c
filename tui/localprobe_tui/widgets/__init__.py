"""Widgets that know nothing of localprobe."""
