"""No clock and no dice decide whether a test passes; `--hypothesis-profile=default` explores."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "imece", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("imece")
