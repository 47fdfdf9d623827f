"""How the parts become processes."""
