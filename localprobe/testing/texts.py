"""Texts for the contract suite and for training tiny tokenizers."""

TEXTS = (
    "The river rose over the fields in the night, and in the morning the road to the village was gone.",
    "She asked twice whether anybody had counted the chairs; nobody answered her, so she counted them herself.",
    "1, 2, 3, 5, 8, 13 and then? def next(a, b): return a + b  # twenty-one comes after thirteen",
    "My neighbour is not well today. I will bring some soup and sit with him until his daughter is home.",
)
"""No text is a prefix of another, and each has dozens of tokens in any tokenizer."""
