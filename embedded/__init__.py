"""Run servers as private child processes of one supervisor, whatever they are for."""
