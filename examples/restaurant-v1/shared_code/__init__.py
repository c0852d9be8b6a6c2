"""What the functions of the restaurant have in common."""
