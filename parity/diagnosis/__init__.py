"""Where two modules diverge first, and the likely cause."""
