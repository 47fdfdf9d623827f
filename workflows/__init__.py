"""Temporal sequences the steps: workflows, and the workers that run them."""
