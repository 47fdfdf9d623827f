"""The language: what orders, payments and their messages are. No broker, no HTTP, no Temporal."""
