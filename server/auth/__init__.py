"""Who somebody is: by the user's code, by an API key, by a token."""
