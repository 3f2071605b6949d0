"""From bytes to pixels and back: decode, standardise, augment, encode, hash; no Beam."""
