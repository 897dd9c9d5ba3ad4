"""Methods side by side: what is compared, where it runs, and the tables of what was found."""
