"""Make processes of the parts: settings and wiring."""
