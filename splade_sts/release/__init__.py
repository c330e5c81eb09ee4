"""A finished run for others: one folder that says what it is, and its way to the Hub."""
