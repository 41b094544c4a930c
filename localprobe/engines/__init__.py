"""Loading an engine with a model in it, and checking that it does what it says."""
