"""Recorded histories, and the proof that today's workflows can carry on whatever was begun with yesterday's."""
