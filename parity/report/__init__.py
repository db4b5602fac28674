"""What a comparison found, as data, as a table and as a page."""
