"""The source being sent and the sink being received."""
