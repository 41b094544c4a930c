"""The knobs that steer the chat, as widgets: in a panel, in one line, or in a sheet."""
