"""Texts as OpenAI's API takes them: one or many, as text or as token ids."""

from __future__ import annotations

from collections.abc import Sequence

from localprobe.serve.errors import ApiError


def one_or_many(given: str | Sequence[str | int | list[int]], refusal: ApiError) -> list[str | list[int]]:
    """The texts of a field: a text, texts, the ids of one, or lists of ids. Raises `refusal` for none, and for ids
    among texts."""
    if isinstance(given, str):
        return [given]
    ids = [part for part in given if isinstance(part, int)]
    if ids and len(ids) == len(given):
        return [ids]
    if ids or not given:
        raise refusal
    return [part for part in given if not isinstance(part, int)]
