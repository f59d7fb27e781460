"""The workers: PostgreSQL's queued steps in, artifacts and receipts out."""
