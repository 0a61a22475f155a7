"""Faults of the way in: another channel, plane, well or scale than a sheet and a file say."""

from __future__ import annotations

from tests.planted import Fault

FIELD, FILES = "analysis/plates/field_image.py", "analysis/plates/image_files.py"
ZARR, ARRAY = "analysis/plates/ome_zarr.py", "analysis/plates/zarr_array.py"
REPEATED, LIF = "analysis/plates/repeated_images.py", "rls/io/vendor/lif.py"
OF_FILES, OF_ZARR = "tests/analysis/test_image_files.py", "tests/analysis/test_plates_ome_zarr.py"
OF_PLATES, OF_SHEETS = "tests/analysis/test_plates.py", "tests/analysis/test_field_files.py"
OF_TWO, OF_LIF = "tests/analysis/test_shared_images.py", "tests/rls/io/test_vendor.py"
PROJECTED = f"{OF_FILES}::test_planes_of_an_ome_tiff_are_projected_as_the_row_says[ZCYX]"
TURNED = f"{OF_FILES}::test_planes_of_an_ome_tiff_are_projected_as_the_row_says[CZYX]"
PLANES = f"{OF_ZARR}::test_planes_are_projected_where_the_configuration_says_how[max-tczyx]"
PIXEL = f"{OF_FILES}::test_a_pixel_size_that_contradicts_the_sheet_is_refused"
LIF_PIXELS = f"{OF_LIF}::test_images_of_a_lif_are_read_pixel_by_pixel[16]"
NAMED = f"{OF_LIF}::test_an_image_is_named_by_its_name_or_its_position_and_never_guessed"

FAULTS = [
    # ---- another channel
    Fault(
        "channels of a file are taken in the assay's order, whatever the file calls them", FILES,
        "    if names.count(wanted) == 1:\n        return names.index(wanted)",
        "    if names.count(wanted) == 1:\n        return list(channels).index(channel)",
        (f"{OF_FILES}::test_the_header_tells_channels_names_and_size_without_pixels",),
    ),
    Fault(
        "channels of an OME-Zarr plate are taken in the assay's order", ZARR,
        "            place = names.index(own)\n", "            place = len(places)\n",
        (f"{OF_ZARR}::test_channels_are_found_by_name_whatever_their_order_and_case",),
    ),
    Fault(
        "files of two images are taken for one field", FILES,
        "if head.files != first.files:", "if False:",
        (f"{OF_FILES}::test_files_of_different_fields_are_refused",),
    ),
    Fault(
        "every channel of a LIF is its first", LIF,
        'fixed = {"C": channel,', 'fixed = {"C": 0,', (LIF_PIXELS,),
    ),
    # ---- another plane
    Fault(
        "the greatest count is that of the first plane", "analysis/plates/projections.py",
        "return stack.max(axis=0)", "return stack[0]", (PROJECTED, PLANES),
    ),
    Fault(
        "the mean is cut off and not rounded", "analysis/plates/projections.py",
        "np.rint(stack.mean(axis=0, dtype=np.float64))", "stack.mean(axis=0, dtype=np.float64)",
        (PROJECTED,),
    ),
    Fault(
        "channels and planes of a TIFF are exchanged", FIELD,
        "    return pixels.transpose(order)", "    return pixels",
        (PROJECTED,),
    ),
    Fault(
        "planes in z are let in that nothing projects", FIELD,
        'planes = "YX" if part.projection == NONE else "ZYX"', 'planes = "ZYX"',
        (PROJECTED, TURNED),
    ),
    Fault(
        "the first plane of an OME-Zarr stack is all of it", ARRAY,
        'fixed = {"c": channel, "t": 0}', 'fixed = {"c": channel, "t": 0, "z": 0}', (PLANES,),
    ),
    Fault(
        "time points are read as their first", ZARR,
        '(("z", "planes in z"), ("t", "time points"))', '(("z", "planes in z"),)',
        (f"{OF_ZARR}::test_stacks_and_time_points_are_never_read_as_their_first"
         "[tcyx-time points]",),
    ),
    Fault(
        "a missing chunk is read as zeros", ARRAY,
        "        if missing:\n", "        if False:\n",
        (f"{OF_ZARR}::test_a_missing_chunk_is_never_read_as_zeros[0.5]",),
    ),
    # ---- another well
    Fault(
        "of several images of a file the first is taken", "rls/io/vendor/series.py",
        "    if not wanted and len(series) == 1:\n", "    if not wanted:\n", (NAMED,),
    ),
    Fault(
        "a number is a position, though another image has it as its name",
        "rls/io/vendor/series.py",
        "    if not named and 0 <= numbered", "    if 0 <= numbered", (NAMED,),
    ),
    Fault(
        "a file that changed since it was listed is read", FILES,
        "        if _digest_now(path) == row[column]:\n", "        if _digest_now(path):\n",
        (f"{OF_ZARR}::test_a_chunk_that_changes_after_the_listing_stops_the_run[0.4]",),
    ),
    Fault(
        "equal files are two fields of a plate", REPEATED,
        "            if first == at or key in blank:\n", "            if first:\n",
        (f"{OF_SHEETS}::test_two_fields_of_the_same_pixels_are_refused_with_their_rows[copy]",),
    ),
    Fault(
        "equal OME-Zarr arrays count as without a signal", REPEATED,
        "        if is_array(Path(path)):\n", "        if False:\n",
        (f"{OF_ZARR}::test_two_fields_of_equal_arrays_are_refused[0.5]",),
    ),
    Fault(
        "an image of two plates is looked for within one", REPEATED,
        'first["plate"] == row["plate"]', 'first["plate"] != row["plate"]',
        (f"{OF_TWO}::test_the_two_fields_are_named",),
    ),
    Fault(
        "a well in two spellings is two wells", "analysis/plates/names.py",
        '    return f"{found[1]}{int(found[2]):02d}"', "    return text",
        (f"{OF_SHEETS}::test_two_spellings_of_a_well_are_one_well",),
    ),
    # ---- another scale
    Fault(
        "a file's pixel size is not compared with the sheet's", FILES,
        "PIXEL_TOLERANCE = 0.03", "PIXEL_TOLERANCE = 3.0", (PIXEL,),
    ),
    Fault(
        "the length of a LIF is divided by pixels and not by steps", LIF,
        "abs(one.length) / (one.number_elements - 1)", "abs(one.length) / one.number_elements",
        (LIF_PIXELS,),
    ),
    Fault(
        "an image of 8 bits is taken for one of more", FILES,
        "image.dtype.itemsize == 1 and bit_depth > 8", "image.dtype.itemsize == 0",
        (f"{OF_PLATES}::test_an_eight_bit_file_is_refused_where_more_was_said[12]",),
    ),
    Fault(
        "counts above the bit depth are let in", FILES,
        "if low < 0 or high >= 2**bit_depth:", "if low < 0:",
        (f"{OF_PLATES}::test_values_above_the_bit_depth_are_refused",),
    ),
    Fault(
        "white that is stored as 0 is read as bright", "rls/io/foreign_tiff.py",
        "    if kind == 0:\n", "    if kind == -1:\n",
        (f"{OF_FILES}::test_a_fault_of_the_file_keeps_its_short_form",),
    ),
    Fault(
        "the size of a level of OME-Zarr is not compared with the assay's", ZARR,
        "    if abs(sizes[level] / pixel_size_um - 1) > TOLERANCE:\n", "    if False:\n",
        (f"{OF_ZARR}::test_pixel_sizes_that_no_level_has_are_refused",),
    ),
]  # fmt: skip
