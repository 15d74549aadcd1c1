"""The book's experiments, which the library never imports: studies, their records, and the claims they decide."""
