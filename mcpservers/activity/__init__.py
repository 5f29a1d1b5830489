"""Which calls were made: a row and a log line for each, written off the call path; read as a list and in sums."""
