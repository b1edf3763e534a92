"""The documentation as a site: its pages, what is generated for them, and what is checked of them."""
