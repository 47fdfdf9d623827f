"""Trace what the processes do, by OpenTelemetry: one saga is one trace."""
