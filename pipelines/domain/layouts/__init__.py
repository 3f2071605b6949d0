"""Layouts in which images and labels come: each a module that declares it as `LAYOUT`, and is found by itself."""
