"""Chats as trees of turns, written to SQLite while their answers stream."""
