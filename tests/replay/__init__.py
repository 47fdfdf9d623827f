"""Recorded histories prove that the workflows of today can carry on what those of yesterday began."""
