"""Interpretable features, one file each; a new file in this folder is found by itself.

A feature is a module with

* ``PRIMARY``: the name of the column that tables and figures show as the feature;
* ``COLUMNS``: the names of all its columns, with units; or the function ``columns(channels)``
  where the names contain channels;
* ``FeatureSettings``: a frozen dataclass that extends ``NucleusSettings``;
* ``measure(images, *, channels, pixel_size_um, nucleus_channel, marker_channel, settings)``, which
  returns one row per crop with these columns and ``status``: ``ok`` or ``not_measurable:reason``.

Images (n, c, y, x) are counts above the black level. Modules without ``measure`` are shared parts.

Every command that measures imports all features, because their settings are its flags. So a
feature imports skimage inside the functions that need it: ``--help`` must not wait for it.
"""
