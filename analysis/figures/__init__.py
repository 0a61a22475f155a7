"""The figures of the article: one command per figure, writing PDF, PNG and its numbers as CSV."""
