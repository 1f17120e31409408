"""Who may do what: authentication, roles, and the questions about them that a client may ask."""
