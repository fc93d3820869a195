"""Which foundation model for which use: facts with sources, constraints, a firm first place."""
