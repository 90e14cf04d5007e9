"""Ways of doing the user's task, measured on the same held-out items."""
