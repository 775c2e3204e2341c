"""Builders of test data that several test modules share, by what they build."""
