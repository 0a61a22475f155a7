"""The figures of the article: one command a figure, writing PDF, PNG and its numbers as CSV."""
