"""How it is timed: each contestant in a process of its own, taking turns."""
