"""What objects of each kind look like: their schemas, and what follows from them for bodies that clients send."""
