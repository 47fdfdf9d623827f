"""Tell the names under which a machine reaches itself. It stands on the standard library alone."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address


def is_loopback(name: str) -> bool:
    """Whether a Host field's name, in small letters and without its port, is localhost or a loopback address."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name.strip("[]"))
    except ValueError:
        return False
    if isinstance(address, IPv6Address):
        return name.startswith("[") and (address.ipv4_mapped or address).is_loopback
    return not name.startswith("[") and address.is_loopback
