"""The statistics of evaluation in numpy: intervals, paired tests, sequential tests, predictions."""
