"""What a judge's verdicts are worth, measured against people, for how long, and up to where."""
