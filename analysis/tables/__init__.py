"""The tables of the article: one command per table, each writing one long CSV."""
