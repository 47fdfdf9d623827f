"""HTTP: the gateway, and the read APIs of the two services."""
