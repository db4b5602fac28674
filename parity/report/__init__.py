"""Reports as data, as a table and as a page."""
