"""Asks people: a queue of blind questions behind a small page.

Consumes review.requested; emits review.answered; owns the tables item, slot, skip, reviewer,
session, entry and head.
"""
