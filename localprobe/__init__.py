"""Find, test and steer a concept inside a language model on your own machine."""
