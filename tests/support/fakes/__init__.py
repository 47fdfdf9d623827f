"""What the parts talk to, as fakes at their ports."""
