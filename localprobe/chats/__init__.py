"""Chats as trees of turns, kept in SQLite while their answers stream."""
