"""Streams of honest and hostile feedback made from real data, and what is measured on them."""
