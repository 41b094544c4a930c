"""Every reader of files from outside, on damaged and hostile ones: read, or refused in one line, at once, in bounds.

`scripts/test` runs some dozens of inputs for each reader, `scripts/test --fuzz` 10,000. The inputs follow from the seed
(LOCALPROBE_FUZZ_SEED). A failing input is kept in a file, and `python -m tests.fuzz READER FILE` reads it again.
"""
