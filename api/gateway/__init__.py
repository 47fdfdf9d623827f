"""The public gateway: commands to the broker or Temporal, queries to the services."""
