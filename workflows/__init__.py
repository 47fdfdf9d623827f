"""Temporal sequences the steps."""
