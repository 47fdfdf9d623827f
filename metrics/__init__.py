"""Count and time what the processes do, and show it to Prometheus."""
