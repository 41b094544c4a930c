"""A concept as directions at one or more layers of a model, and the files that hold it."""
