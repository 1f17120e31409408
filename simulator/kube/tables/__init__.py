"""Objects as the tables that kubectl prints, and as their metadata alone."""
