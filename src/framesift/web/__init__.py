"""The web server: REST API and page over any number of indexes."""
