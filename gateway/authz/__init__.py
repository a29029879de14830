"""In front of an API: one file per proxy profile, and the gate they all ask at."""

from gateway.authz.gate import PROFILES, PROFILES_LATER, Gate

__all__ = ["PROFILES", "PROFILES_LATER", "Gate"]
