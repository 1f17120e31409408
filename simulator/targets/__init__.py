"""Where scenarios run: a platform of their own, or one in a cluster; and what can be made to go wrong there."""
