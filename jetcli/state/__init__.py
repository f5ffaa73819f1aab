"""What jet remembers: one SQLite database an account, and the configuration file."""
