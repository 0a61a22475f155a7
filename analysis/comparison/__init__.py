"""What tables, figures and the report share: conditions, what was measured there, long tables."""
