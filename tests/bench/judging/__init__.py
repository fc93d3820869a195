"""Parts of the judge's benchmark: recorded answers, a faulty endpoint, tricks."""
