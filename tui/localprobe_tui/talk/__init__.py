"""The chat that is open and its knobs, without widgets."""
