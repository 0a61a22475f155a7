"""The biology: plates, cells, features, metrics, tables and figures."""
