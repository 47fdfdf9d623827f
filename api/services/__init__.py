"""The applications on internal ports: the read APIs of the two services, and health."""
