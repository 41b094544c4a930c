"""A server: steered generation, probes, vectors and residuals over the HTTP API that everyone already speaks."""
