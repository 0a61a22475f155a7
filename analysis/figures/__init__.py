"""The figures of the article: one command a figure, each writing PDF, PNG and its numbers as CSV."""
