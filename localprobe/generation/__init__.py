"""From prompts to text: the decode loop, detokenization, multi-turn conversations."""
