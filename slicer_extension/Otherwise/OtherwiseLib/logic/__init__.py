"""The module without its panel: jobs, choices and results. Knows no widget."""
