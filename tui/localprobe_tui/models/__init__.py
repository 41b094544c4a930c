"""The Models screen, and the choice of a model."""
