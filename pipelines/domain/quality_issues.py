"""Names and limits of what may be wrong with a photograph, whatever it shows.

The names are cleanvision's (github.com/cleanlab/cleanvision); `black_frame` and `thumbnail` are added. Scores are from
0 to 1, and low is bad.
"""

from __future__ import annotations

from collections.abc import Mapping

# Issues that follow from the pixels -> the score below which a photograph has them; see `imaging.quality`. The limits
# of the first three are cleanvision's. A sharp photograph of 600 x 450 pixels scores about 0.3 for `blurry` after a
# Gaussian blur with a sigma of 1.5 to 2 pixels. A photograph has a black frame if over a quarter of its edge is black.
PIXEL_ISSUES: Mapping[str, float] = {
    "dark": 0.32,
    "light": 0.05,
    "low_information": 0.3,
    "blurry": 0.3,
    "grayscale": 0.5,
    "black_frame": 0.75,
}
# Issues that follow from width and height, for some of them beside those of all images; see `curation.quality`.
ODD_ASPECT_RATIO, ODD_SIZE, THUMBNAIL = "odd_aspect_ratio", "odd_size", "thumbnail"
ISSUES = (*PIXEL_ISSUES, ODD_ASPECT_RATIO, ODD_SIZE, THUMBNAIL)
