"""The numbers of tables, figures and the report: what was measured, and how it is compared."""
