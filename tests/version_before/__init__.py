"""What the version before says is understood, and what this version says, it understands."""
