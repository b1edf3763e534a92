"""The page of a server for browsers: its models, a form to try each, and how it is going."""
