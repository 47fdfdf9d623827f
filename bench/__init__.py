"""Load a running system, measure what the load costs, and contrast both coordinators."""
