"""How the parts become processes: settings and wiring."""
