"""Plain rules and nouns that services and doors share; made by `config`."""
