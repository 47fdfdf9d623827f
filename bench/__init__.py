"""Load a running system, measure what that costs it, and contrast its two coordinators."""
