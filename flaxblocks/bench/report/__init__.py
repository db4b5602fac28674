"""What is reported: result files, tables, plots."""
