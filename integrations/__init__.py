"""Tools that call judges: one file for each. Each needs its own package, which nothing else here imports."""
