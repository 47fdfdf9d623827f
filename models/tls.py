"""Say which certificate is at fault when a protected connection fails, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

# In the words of OpenSSL, libpq, PostgreSQL and rustls. What is more specific stands first.
_FAULTS: Final = tuple(
    (re.compile(pattern, re.IGNORECASE), fault)
    for pattern, fault in (
        (
            r"alert certificate expired|received.*certificateexpired",
            "the server finds that our client certificate has expired; renew {certificate}",
        ),
        (
            r"certificate.?required|requires a valid client certificate|handshake failure|alert bad certificate",
            "the server asks for a client certificate; set {certificate} and {key} to one that it accepts",
        ),
        (
            r"alert unknown ca|received.*unknownca|decrypt error",
            "the server does not know the CA of our client certificate; set {certificate} to one that it accepts",
        ),
        (
            r"certificate has expired|invalidcertificate\(expired",
            "the server's certificate has expired; renew it at the server",
        ),
        (
            r"mismatch|does not match host name|notvalidforname",
            "the server's certificate is for another name; connect by a name that stands in it",
        ),
        (
            r"unable to get (local )?issuer|self.signed|unknownissuer|causedasendentity|badsignature",
            "the server's certificate is not signed by a CA that is trusted here; set {ca} to the CA that signed it",
        ),
        (
            r"certificate.verify.failed",
            "the server's certificate has expired, or no CA that is trusted here has signed it; renew it there, or set "
            "{ca} to the CA that signed it",
        ),
        (
            r"wrong.version.number|record layer|does not support ssl|invalidcontenttype|corrupt message",
            "the server speaks no TLS on this port; give the port on which it does",
        ),
        (
            r"root certificate file",
            "the file with the CA cannot be used; correct {ca}",
        ),
        (r"no encryption", "the server takes no connection without TLS; turn it on ({ca})"),
        (
            r"certificate file|private key file|key.values.mismatch",
            "a file of the client certificate cannot be used; correct {certificate} and {key}",
        ),
    )
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Names:
    """How the files of a protected connection are configured, in words that a user can find."""

    ca: str
    certificate: str
    key: str

    def explain(self, failure: str) -> str | None:
        """What is wrong with which certificate and what to do, in one line; None for what is no matter of TLS."""
        for pattern, fault in _FAULTS:
            if pattern.search(failure):
                return fault.format(ca=self.ca, certificate=self.certificate, key=self.key)
        return None


def of_url(variable: str, *, ca: str, certificate: str, key: str) -> Names:
    """The names where they are parameters of the URL in this variable."""
    return Names(ca=f"{ca} in {variable}", certificate=f"{certificate} in {variable}", key=f"{key} in {variable}")


BROKER: Final = of_url("SAGA_AMQP_URL", ca="cafile", certificate="certfile", key="keyfile")
DATABASES: Final = {
    service: of_url(f"SAGA_{service.upper()}_DATABASE_URL", ca="sslrootcert", certificate="sslcert", key="sslkey")
    for service in ("orders", "payments")
}
TEMPORAL: Final = Names(ca="SAGA_TEMPORAL_TLS_CA", certificate="SAGA_TEMPORAL_TLS_CERT", key="SAGA_TEMPORAL_TLS_KEY")
