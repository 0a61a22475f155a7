"""The tables of the article: one command a table, each writing one long CSV."""
