"""The numbers of tables, figures and the report: comparisons of the measured cells."""
