"""Check amounts of money: their size, and their currency, which is an active alphabetic code of ISO 4217."""

from __future__ import annotations

from typing import Final

MAX_TOTAL: Final = 10**12  # minor units
_CODES: Final = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF
    CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD
    HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD
    MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN
    PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD
    TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
    """

# ISO 4217 list one as of 2026, with the funds codes. Metals, units of account, test codes and "no currency" (XAU, XDR,
# XTS, XXX, …) are left out: nobody can be charged in them.
CURRENCIES: Final = frozenset(_CODES.split())


def check_money(total: int | None, currency: str | None) -> None:
    """Raise ValueError unless `total` is 1 … 10^12 minor units of an ISO 4217 currency. None passes."""
    if total is not None and not 1 <= total <= MAX_TOTAL:
        raise ValueError(f"total is {total}; it must be 1 … {MAX_TOTAL} minor units")
    if currency is not None and currency not in CURRENCIES:
        raise ValueError(f"currency is {currency[:10]!r}; it must be a code of ISO 4217")
