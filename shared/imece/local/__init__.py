"""Parts that make a laptop enough: an embedded Kafka and models from the package index."""
