"""The `imece` command: one module per group of commands."""
