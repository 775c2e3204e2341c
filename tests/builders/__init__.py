"""What several test modules build their cases of: small tables and configurations, one module a topic."""
