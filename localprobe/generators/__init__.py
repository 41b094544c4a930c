"""Contrast pairs written by language models, local or behind an endpoint."""
