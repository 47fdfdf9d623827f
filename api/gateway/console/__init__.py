"""The console's side of the gateway: its files, sessions and stream, and what its page asks for."""
