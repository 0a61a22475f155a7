"""Open a file of a microscope's maker (CZI, LIF, ND2), and refuse one that would mislead.

Each is read by a library of its own, which the extra ``vendor`` installs: czifile, liffile and nd2.
What they fill in or guess is refused here: missing tiles and frames, which would be zeros, files
that are still written or cut off, lossy compression, colours, and sizes without a unit. Nothing is
stitched: tiles that overlap or leave gaps are images of their own.
"""

from rls.io.vendor.opened import ENDINGS, is_vendor, need_reader, only_series, open_vendor
from rls.io.vendor.series import Series, place_of

__all__ = [
    "ENDINGS",
    "Series",
    "is_vendor",
    "need_reader",
    "only_series",
    "open_vendor",
    "place_of",
]
