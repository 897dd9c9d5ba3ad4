"""`promptseg serve`: photos in, labels out over HTTP; and what every server here shares: address, guard, errors."""
