"""Currencies: how many decimals each one's minor unit has (ISO 4217)."""

_MINOR_DIGITS = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: """
        AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD
        CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
        GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD
        MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP
        PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT
        TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG
    """,
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}
_DIGITS_BY_CURRENCY = {
    currency: digits for digits, listed in _MINOR_DIGITS.items() for currency in listed.split()
}


def minor_digits(currency: str) -> int:
    """Decimals of a currency (ISO 4217): USD 2, JPY 0, KWD 3. Raises ValueError for an unknown one."""
    digits = _DIGITS_BY_CURRENCY.get(currency)
    if digits is None:
        raise ValueError(
            f"{currency[:10]!r} is not a currency; write an ISO 4217 code like USD or EUR"
        )
    return digits
