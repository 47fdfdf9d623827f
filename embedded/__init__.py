"""Servers as private child processes of one supervisor; nothing here knows what they are for."""
