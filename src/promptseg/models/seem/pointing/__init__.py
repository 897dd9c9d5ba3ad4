"""One object that is pointed at or named: from places and words to rows of the decoder, and to a mask."""
