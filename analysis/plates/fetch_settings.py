"""Settings of ``fetch_plate`` and ``fetch_metadata``."""

from __future__ import annotations

from dataclasses import dataclass

from rls.runtime.command import option


@dataclass(frozen=True)
class Settings:
    """Settings of section ``fetch_plate``."""

    attempts: int = option("Attempts in a row without a new byte before the fetch stops.", least=1)
    first_pause_s: float = option(
        "Pause after the first failed attempt, in s; it doubles each time.", least=0
    )
    longest_pause_s: float = option(
        "Longest pause, in s; also where the server asks for more.", least=0
    )
    timeout_s: float = option(
        "A connection that is silent for this long is cut and tried again, in s.", above=0
    )
    expected_mb_per_s: float = option(
        "Rate of the download time that is printed before the first byte, in MB/s.", above=0
    )
    free_disk_mb: float = option(
        "Disk that must stay free beside archive and images, in MB.", least=0
    )
