"""Recognise the names under which a machine reaches itself, with the standard library only."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(name: str) -> bool:
    """Whether the name of a Host field, in lower case and without its port, is localhost or a loopback address."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return name.startswith("[") and (address.ipv4_mapped or address).is_loopback
    return not name.startswith("[") and address.is_loopback


def is_loopback_address(text: str) -> bool:
    """Whether this is a loopback address, without brackets; a name is none."""
    try:
        return ip_address(text).is_loopback
    except ValueError:
        return False
