"""Loading an engine with a model in it, and checking that it works correctly."""
