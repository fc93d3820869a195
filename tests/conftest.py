"""No clock and no dice decide whether a property holds."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "imece", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("imece")
