"""Read what both services, the provider, the broker and Temporal hold, and prove what must hold of it."""
