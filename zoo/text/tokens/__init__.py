"""What files of vocabularies leave unsaid: how a text is cut, how tokens merge, how special ones are spelt."""
