"""Long trials that assert: they are run by hand, and not by pytest."""
