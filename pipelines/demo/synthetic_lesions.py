"""Draw synthetic skin lesions that resemble dermoscopy: nine classes, each with its own look, none medically valid.

A lesion is a random function on the plane, fixed by a seed. A photograph of it shows that function from some angle, at
some zoom and under some light. So photographs of one lesion agree as real ones do, but no two are equal.
Colours are RGB, float64 in [0, 1]; a field is a float64 array [height, width].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

Rgb = tuple[float, float, float]


# The colour that hard cases approach: a plain brown spot, which several classes can look like.
_NONDESCRIPT: Rgb = (0.60, 0.41, 0.31)


@dataclass(frozen=True)
class Patch:
    """The part of the lesion's plane that one photograph shows.

    The methods draw from `rng`, so the order of calls determines the lesion.
    """

    # Coordinates of each pixel in lesion units (the typical radius is 1): float64 [height, width].
    u: np.ndarray
    v: np.ndarray
    rng: np.random.Generator  # seeded by the lesion, so that all its photographs draw the same shape
    atypia: float  # in [0, 1): distance from the textbook look

    @property
    def clarity(self) -> float:
        """Strength of the class's own texture, from 0.25 to 1; 1 for a textbook lesion."""
        return 1.0 - 0.75 * self.atypia

    def waves(self, low: float, high: float, terms: int = 8) -> np.ndarray:
        """Return a smooth random field of about zero mean and unit variance.

        Args:
            low: Lowest spatial frequency, in radians per lesion unit.
            high: Highest spatial frequency, in radians per lesion unit.
            terms: Number of plane waves to add up.

        Returns:
            Field, float64 [height, width].
        """
        angle = self.rng.uniform(0, 2 * np.pi, terms)
        frequency = self.rng.uniform(low, high, terms)
        phase = self.rng.uniform(0, 2 * np.pi, terms)
        field = np.zeros_like(self.u)
        for a, f, p in zip(angle, frequency, phase, strict=True):
            field += np.cos(f * (np.cos(a) * self.u + np.sin(a) * self.v) + p)
        return field * np.sqrt(2.0 / terms)

    def outline(self, irregularity: float, elongation: float = 0.15) -> np.ndarray:
        """Return the distance from the centre, relative to a random border.

        Args:
            irregularity: How ragged the border of a textbook lesion is; 0 for an ellipse.
            elongation: Largest relative stretch of the ellipse; 0 for a circle.

        Returns:
            Field, float64 [height, width]: 0 in the middle, 1 on the border.
        """
        orientation = self.rng.uniform(0, np.pi)
        stretch = 1 + self.rng.uniform(0, elongation)
        x = (np.cos(orientation) * self.u + np.sin(orientation) * self.v) / stretch
        y = (np.cos(orientation) * self.v - np.sin(orientation) * self.u) * stretch
        theta = np.arctan2(y, x)
        irregularity = irregularity * (1 - self.atypia) + 0.12 * self.atypia
        radius = np.full_like(x, self.rng.uniform(0.85, 1.1))
        for k in range(2, 9):
            amplitude = irregularity * self.rng.normal() / k**0.7
            radius += amplitude * np.cos(k * theta + self.rng.uniform(0, 2 * np.pi))
        return np.hypot(x, y) / np.maximum(radius, 0.35)

    def spots(self, fewest: int, most: int, reach: float, small: float, large: float) -> np.ndarray:
        """Return a field of random round spots.

        Args:
            fewest: Least number of spots.
            most: Largest number of spots.
            reach: Largest distance of their centres from the middle, in lesion units.
            small: Smallest radius, in lesion units.
            large: Largest radius, in lesion units.

        Returns:
            Field, float64 [height, width]: 1 at the centres of spots, positive inside, negative outside, at least -1.
        """
        count = int(self.rng.integers(fewest, most + 1))
        direction = self.rng.uniform(0, 2 * np.pi, count)
        distance = reach * np.sqrt(self.rng.uniform(0, 1, count))
        size = self.rng.uniform(small, large, count)
        field = np.full_like(self.u, -1.0)
        for a, d, r in zip(direction, distance, size, strict=True):
            squared = (self.u - d * np.cos(a)) ** 2 + (self.v - d * np.sin(a)) ** 2
            np.maximum(field, 1 - squared / r**2, out=field)
        return field

    def base(self, colour: Rgb, spread: float = 0.035) -> np.ndarray:
        """Return a uniform image of a colour with the lesion's own random tint.

        Args:
            colour: The colour of a textbook lesion.
            spread: Standard deviation of the tint: of a shift of each channel, and of a shift of all channels.

        Returns:
            Image, float64 [height, width, 3].
        """
        plain = np.array(colour) * (1 - 0.55 * self.atypia) + np.array(_NONDESCRIPT) * 0.55 * self.atypia
        tint = plain + self.rng.normal(0, spread, 3) + self.rng.normal(0, spread)
        return np.broadcast_to(tint, (*self.u.shape, 3)).copy()


def _step(field: np.ndarray, edge: float, softness: float) -> np.ndarray:
    """Return a field that is 0 where `field` is below `edge` and 1 above, with a transition of about `softness`."""
    return 0.5 + 0.5 * np.tanh((field - edge) / max(softness, 1e-6))


def _mix(image: np.ndarray, colour: Rgb, weight: np.ndarray) -> np.ndarray:
    """Blend a colour into an image [height, width, 3]; `weight` is [height, width], 1 where only the colour remains."""
    return image + weight[..., None] * (np.array(colour) - image)


# Returns the lesion's colours, float64 [height, width, 3], and its opacity over the skin, float64 [height, width].
Painter = Callable[[Patch], tuple[np.ndarray, np.ndarray]]


def _actinic_keratosis(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a pink patch without a clear border, strewn with pale scales."""
    s = p.outline(0.16)
    image = _mix(p.base((0.83, 0.47, 0.43)), (0.72, 0.30, 0.30), 0.55 * _step(p.waves(3, 7), 0.3, 0.6))
    scales = p.spots(38, 54, 1.0, 0.07, 0.14)
    image = _mix(image, (0.97, 0.90, 0.72), 0.95 * p.clarity * _step(scales, 0.15, 0.3))
    return image, 0.92 * _step(1.08 - s, 0, 0.38)


def _basal_cell_carcinoma(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a pearly nodule with branching red vessels and a few blue-grey nests."""
    s = p.outline(0.08)
    image = _mix(p.base((0.90, 0.70, 0.68)), (0.98, 0.88, 0.86), 0.7 * _step(0.45 - s, 0, 0.3))
    thickness = 0.10 + 0.05 * p.waves(1, 2)
    vessels = np.maximum(
        _step(thickness - np.abs(p.waves(2, 4.5)), 0, 0.05), _step(0.6 * thickness - np.abs(p.waves(3, 7)), 0, 0.04)
    )
    image = _mix(image, (0.74, 0.10, 0.13), 0.9 * p.clarity * vessels * _step(s, 0.15, 0.1))
    nests = p.spots(3, 6, 0.75, 0.13, 0.27)
    image = _mix(image, (0.36, 0.40, 0.52), 0.9 * p.clarity * _step(nests, 0.15, 0.25))
    return image, 0.95 * _step(1 - s, 0, 0.07)


def _dermatofibroma(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a white scar in the middle of a soft brown ring."""
    s = p.outline(0.05)
    image = _mix(p.base((0.66, 0.43, 0.33)), (0.52, 0.31, 0.23), 0.4 * _step(p.waves(9, 13), 0.3, 0.5))
    scar = _step(p.rng.uniform(0.42, 0.56) + 0.06 * p.waves(4, 8) - s, 0, 0.09)
    image = _mix(image, (0.96, 0.88, 0.83), (0.35 + 0.6 * p.clarity) * scar)
    return image, 0.9 * _step(1.0 - s, 0, 0.2)


def _melanoma(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a ragged, lopsided spot of several colours: black, brown, blue-grey, red."""
    s = p.outline(0.26, elongation=0.4) + 0.05 * p.waves(9, 15)
    image = p.base((0.36, 0.21, 0.15))
    direction = p.rng.uniform(0, 2 * np.pi)
    side = np.cos(direction) * p.u + np.sin(direction) * p.v
    image = _mix(image, (0.08, 0.06, 0.07), p.clarity * _step(p.waves(2, 4) + side, 0.3, 0.25))
    image = _mix(image, (0.34, 0.39, 0.50), 0.9 * p.clarity * _step(p.waves(2, 4) - 0.5 * side, 0.9, 0.25))
    image = _mix(image, (0.66, 0.25, 0.20), 0.8 * p.clarity * _step(p.waves(2, 4) - side, 1.0, 0.3))
    return image, 0.97 * _step(1.02 - s, 0, 0.07)


def _nevus(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint an even brown oval with a honeycomb of darker lines that fades at the edge."""
    s = p.outline(0.035, elongation=0.3)
    image = p.base((0.63, 0.42, 0.28), spread=0.05)
    warp_u, warp_v = 0.12 * p.waves(1, 3), 0.12 * p.waves(1, 3)
    turn, pitch = p.rng.uniform(0, np.pi), p.rng.uniform(13, 17)
    comb = sum(
        np.cos(pitch * (np.cos(turn + i * np.pi / 3) * (p.u + warp_u) + np.sin(turn + i * np.pi / 3) * (p.v + warp_v)))
        for i in range(3)
    )
    image = _mix(image, (0.30, 0.17, 0.10), 0.8 * p.clarity * _step(-comb, 0.35, 0.5) * _step(1.1 - s, 0, 0.3))
    return image, 0.93 * _step(1 - s, 0, 0.13)


def _pigmented_benign_keratosis(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a tan plaque of parallel ridges, like a fingerprint, with a moth-eaten border."""
    s = p.outline(0.07, elongation=0.3)
    bites = np.full_like(s, -1.0)
    for angle in p.rng.uniform(0, 2 * np.pi, 9):
        size = p.rng.uniform(0.14, 0.26)
        squared = (p.u - np.cos(angle)) ** 2 + (p.v - np.sin(angle)) ** 2
        np.maximum(bites, 1 - squared / size**2, out=bites)
    image = p.base((0.78, 0.62, 0.40))
    turn, pitch = p.rng.uniform(0, np.pi), p.rng.uniform(14, 19)
    ridges = np.cos(pitch * (np.cos(turn) * p.u + np.sin(turn) * p.v + 0.16 * p.waves(2, 4)))
    image = _mix(image, (0.42, 0.29, 0.16), 0.85 * p.clarity * _step(ridges, 0.15, 0.5))
    return image, 0.95 * _step(1 - s, 0, 0.05) * (1 - p.clarity * _step(bites, 0, 0.15))


def _seborrheic_keratosis(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a dark, sharply bounded, stuck-on plaque: pale cysts and black plugs in a waxy surface."""
    s = p.outline(0.05)
    image = _mix(p.base((0.42, 0.31, 0.25)), (0.30, 0.21, 0.17), 0.6 * _step(p.waves(5, 9), 0, 0.6))
    plugs = p.spots(7, 11, 0.85, 0.06, 0.11)
    image = _mix(image, (0.10, 0.07, 0.06), 0.9 * p.clarity * _step(plugs, 0.1, 0.3))
    cysts = p.spots(11, 17, 0.8, 0.07, 0.13)
    image = _mix(image, (0.97, 0.93, 0.74), 0.95 * p.clarity * _step(cysts, 0.1, 0.3))
    # The raised rim casts a shadow.
    image = _mix(image, (0.20, 0.13, 0.10), 0.6 * _step(s, 0.88, 0.06))
    return image, 0.98 * _step(1 - s, 0, 0.03)


def _squamous_cell_carcinoma(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint an angry red nodule around a yellow crust with blood in it."""
    s = p.outline(0.13)
    image = _mix(p.base((0.80, 0.30, 0.25)), (0.93, 0.66, 0.60), 0.6 * _step(p.waves(5, 9), 0.5, 0.4))
    crust = _step(p.rng.uniform(0.5, 0.64) + 0.12 * p.waves(4, 8) - s, 0, 0.06)
    image = _mix(image, (0.88, 0.71, 0.33), (0.2 + 0.75 * p.clarity) * crust)
    image = _mix(image, (0.36, 0.07, 0.05), 0.85 * p.clarity * crust * _step(p.waves(6, 11), 0.85, 0.25))
    return image, 0.95 * _step(1 - s, 0, 0.12)


def _vascular_lesion(p: Patch) -> tuple[np.ndarray, np.ndarray]:
    """Paint a cluster of red and purple lakes separated by paler skin."""
    s = p.outline(0.06)
    lakes = p.spots(11, 15, 0.85, 0.22, 0.36)
    image = p.base((0.72, 0.35, 0.42))
    image = _mix(image, (0.62, 0.06, 0.15), p.clarity * _step(lakes, 0.25, 0.2))
    image = _mix(image, (0.27, 0.05, 0.24), p.clarity * _step(lakes, 0.55, 0.2) * _step(p.waves(1, 3), -0.1, 0.4))
    return image, np.maximum(0.55 * _step(1 - s, 0, 0.2), 0.97 * _step(lakes, 0.2, 0.15))


PAINTERS: dict[str, Painter] = {
    "actinic keratosis": _actinic_keratosis,
    "basal cell carcinoma": _basal_cell_carcinoma,
    "dermatofibroma": _dermatofibroma,
    "melanoma": _melanoma,
    "nevus": _nevus,
    "pigmented benign keratosis": _pigmented_benign_keratosis,
    "seborrheic keratosis": _seborrheic_keratosis,
    "squamous cell carcinoma": _squamous_cell_carcinoma,
    "vascular lesion": _vascular_lesion,
}


# Aspect ratios (width, height) of photographs, in proportion to how often they are used.
_SHAPES = ((4, 3), (4, 3), (4, 3), (1, 1), (3, 2), (3, 4))


def photograph(class_name: str, lesion_seed: list[int], photo: int) -> Image.Image:
    """Draw a photograph of a lesion; the same arguments give the same pixels.

    Args:
        class_name: The class of the lesion, a key of PAINTERS.
        lesion_seed: Identifies the lesion; every photograph with this seed shows the same one.
        photo: The number of the photograph, from 0.

    Returns:
        RGB image; the longer side has 128 to 200 pixels, the shorter at least 96.
    """
    lesion_rng = np.random.default_rng(lesion_seed)
    view_rng = np.random.default_rng([*lesion_seed, photo + 1])

    across, down = _SHAPES[view_rng.integers(len(_SHAPES))]
    longer = int(view_rng.integers(128, 201))
    width = max(96, longer * across // max(across, down))
    height = max(96, longer * down // max(across, down))

    # Camera: distance, rotation, position.
    radius = view_rng.uniform(0.52, 0.76) * min(width, height) / 2
    turn = view_rng.uniform(0, 2 * np.pi)
    shift = view_rng.normal(0, 0.05, 2) * min(width, height)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    x, y = (x - width / 2 - shift[0]) / radius, (y - height / 2 - shift[1]) / radius
    u, v = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y

    skin_tone = np.array((0.88, 0.70, 0.60)) + lesion_rng.normal(0, 0.02, 3) - abs(lesion_rng.normal(0, 0.06))
    atypia = float(lesion_rng.beta(1.1, 3.3))
    patch = Patch(u, v, lesion_rng, atypia)
    skin = skin_tone + 0.012 * patch.waves(1, 4)[..., None] + 0.010 * patch.waves(14, 26)[..., None]
    lesion, alpha = PAINTERS[class_name](patch)
    image = skin + alpha[..., None] * (lesion - skin)

    if view_rng.random() < 0.4:
        image = _with_hairs(image, view_rng)
    image = _under_light(image, view_rng)
    return Image.fromarray(np.round(255 * np.clip(image, 0, 1)).astype(np.uint8))


def _with_hairs(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a few dark curved hairs across an image [height, width, 3]."""
    height, width = image.shape[:2]
    layer = Image.new("L", (width * 2, height * 2), 0)
    draw = ImageDraw.Draw(layer)
    for _ in range(rng.integers(2, 8)):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * (2 * width, 2 * height)
        t = np.linspace(0, 1, 24)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
        draw.line([tuple(point) for point in curve.tolist()], fill=int(rng.integers(120, 220)), width=2)
    mask = np.asarray(layer.filter(ImageFilter.GaussianBlur(0.8)).resize((width, height), Image.Resampling.BOX)) / 255
    return _mix(image, (0.16, 0.11, 0.09), mask)


def _under_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Apply uneven light, dark corners (vignetting), colour cast and noise to an image [height, width, 3]."""
    height, width = image.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    light = rng.uniform(0.86, 1.08) + rng.uniform(0, 0.09) * (np.cos(angle) * x + np.sin(angle) * y)
    light = light * (1 - rng.uniform(0.02, 0.14) * (x**2 + y**2))
    cast = 1 + rng.normal(0, 0.025, 3)
    return image * light[..., None] * cast + rng.normal(0, 0.012, image.shape)
