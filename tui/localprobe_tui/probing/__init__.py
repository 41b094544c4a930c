"""The Probing screen."""
