"""`jet try`: a throwaway server, two accounts and two real processes on this machine."""
