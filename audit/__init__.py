"""Read what both services, the provider, the broker and Temporal hold, and prove that the invariants hold."""
