"""Take orders and payments over from the databases of the original services, and bring them back."""
