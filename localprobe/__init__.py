"""Find, test and steer a concept inside a language model on your own machine."""

__version__ = "0.1.0"
