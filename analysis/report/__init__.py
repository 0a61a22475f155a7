"""The report that a person opens: one HTML file with every figure and table inside."""
