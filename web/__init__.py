"""The site: HTTP in, pages and feeds out. Talks to workers through PostgreSQL alone."""
