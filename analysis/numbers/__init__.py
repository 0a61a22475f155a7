"""Statistics over cells and wells: estimates with intervals, distances, agreement, calibration."""
