"""Names of the augmentations of ADA, and the pipelines that a training can choose.

The names are those of the paper (Karras et al. 2020, "Training generative adversarial networks with
limited data", appendix B): pixel blitting, geometry, colour, filter, noise, cutout.
"""

from __future__ import annotations

from collections.abc import Mapping

BLIT = ("xflip", "rotate90", "xint")
GEOMETRY = ("scale", "rotate", "aniso", "xfrac")
COLOUR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
PIPELINES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "blit": BLIT,
    "geom": GEOMETRY,
    "color": COLOUR,
    "filter": ("filter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": BLIT + GEOMETRY,
    "bgc": BLIT + GEOMETRY + COLOUR,
    "bgcf": BLIT + GEOMETRY + COLOUR + ("filter",),
    "bgcfn": BLIT + GEOMETRY + COLOUR + ("filter", "noise"),
    "bgcfnc": BLIT + GEOMETRY + COLOUR + ("filter", "noise", "cutout"),
}
