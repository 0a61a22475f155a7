"""Source ome_zarr: OME-Zarr plates of both versions, written by another library than ours."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from analysis import list_plate
from analysis.plates.fields import read_field
from analysis.plates.image_files import BrokenField
from analysis.run.arguments import Arguments
from analysis.run.checks import check
from analysis.run.files import Files
from analysis.run.values import read_config
from rls.runtime.errors import InputError
from tests.analysis.small_plate import CHANNELS, TREATMENTS, crop, left_behind, write_config
from tests.conftest import ROOT

for package in ("tensorstore", "yaozarrs", "zarr"):
    pytest.importorskip(package)
import yaozarrs  # noqa: E402  after it is known to be there

from tests.analysis import zarr_plates as plates  # noqa: E402  as above

MAP = "well,treatment,dose\nB02,DMSO,0\nC3,TNF-alpha,20\nD04,DMSO,0\n"
VERSIONS = pytest.mark.parametrize("version", plates.VERSIONS)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A plate of each version, of each kind of chunks."""
    root = tmp_path_factory.mktemp("plates")
    for version in plates.VERSIONS:
        plates.write_plate(root / version, version)
    plates.write_plate(root / "sharded", "0.5", sharded=True)
    return root


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the plates that a test may harm."""
    shutil.copytree(written, tmp_path / "plates")
    return tmp_path / "plates"


def list_it(folder, *more, channels=CHANNELS, plate_map=MAP, pixel_um="1.5", plate="P1"):
    (folder / "map.csv").write_text(plate_map)
    sheet = folder / "out" / f"{plate}.sheet.csv"
    list_plate.main(
        ["--source", "ome_zarr", "--treatment-by", "compound", "--plate", plate, "--plates", plate,
         "--folder", str(folder), "--sheet", str(folder / "map.csv"), "--channels", *channels,
         "--pixel-size-um", pixel_um, "--bit-depth", "12", "--output", str(sheet), *more]
    )  # fmt: skip
    return sheet


def fields(sheet, channels=CHANNELS):
    """Every field of a listed plate, by well and site."""
    table = pd.read_csv(sheet, dtype={f"channel_{name}": str for name in channels})
    return {
        (row["well"], row["site"]): read_field(row, channels, sheet.parent)
        for row in table.to_dict("records")
    }


def refused(folder, message, *more, **options):
    with pytest.raises(InputError, match=message):
        list_it(folder, *more, **options)
    assert not (folder / "out").exists() and left_behind(folder) == []


def harmed(folder, path, harm):
    plates.change(folder / "P1.ome.zarr" / path, harm)


# ---- what is read -----------------------------------------------------------------------------


@VERSIONS
def test_the_tests_plates_are_valid_by_the_specification(written, version):
    yaozarrs.validate_zarr_store(str(written / version / "P1.ome.zarr"))


@pytest.mark.parametrize("kind", [*plates.VERSIONS, "sharded"])
def test_every_field_is_read_pixel_by_pixel_with_its_treatment(written, tmp_path, kind):
    shutil.copytree(written / kind, tmp_path / kind)
    sheet = list_it(tmp_path / kind)
    table = pd.read_csv(sheet)
    assert list(table["well"]) == ["B02", "B02", "C03", "C03"]
    assert list(table["site"]) == [0, 1, 0, 1]
    assert list(table["treatment"]) == ["DMSO", "DMSO", "TNF-alpha", "TNF-alpha"]
    assert set(table["pixel_size_um"]) == {1.5} and set(table["bit_depth"]) == {12}
    assert all(path.split("/")[-2] == "1" for path in table["path"])
    for (well, site), image in fields(sheet).items():
        path = {"B02": "B/2", "C03": "C/03"}[well]
        np.testing.assert_array_equal(image, plates.images_of(path, site))


def test_channels_are_found_by_name_whatever_their_order_and_case(folder):
    sheet = list_it(folder / "0.5", channels=CHANNELS[::-1])
    np.testing.assert_array_equal(
        fields(sheet, CHANNELS[::-1])["B02", 0], plates.images_of("B/2", 0)[::-1]
    )
    for site in "01":
        for well in plates.WELLS:
            label = {"omero": plates.omero(["Hoechst ", "p65"])}
            harmed(folder / "0.4", f"{well}/{site}", lambda ome, label=label: ome.update(label))
    sheet = list_it(folder / "0.4", "--channel-labels", "hoechst", "P65")
    np.testing.assert_array_equal(fields(sheet)["B02", 0], plates.images_of("B/2", 0))


def test_a_finer_level_is_chosen_by_the_assays_pixel_size(folder):
    sheet = list_it(folder / "0.5", pixel_um="0.76")
    images = plates.images_of("B/2", 0).repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(fields(sheet)["B02", 0], images)


@pytest.mark.parametrize("axes", ["yx", "zyx", "cyx"])
def test_axes_may_be_left_out(tmp_path, axes):
    """Without channels the only one must be named by its position."""
    plate = plates.write_plate(tmp_path, "0.4", sites=1, labels=())
    n = 2 if "c" in axes else 1
    for path in plates.WELLS:
        shutil.rmtree(plate / path / "0")
        pixels = plates.images_of(path, 0)[:n]
        plates.write_field(plate / path / "0", "0.4", pixels, axes=axes, labels=())
    labels = [str(i) for i in range(n)]
    sheet = list_it(tmp_path, "--channel-labels", *labels, channels=CHANNELS[:n])
    image = fields(sheet, CHANNELS[:n])["C03", 0]
    np.testing.assert_array_equal(image, plates.images_of("C/03", 0)[:n])


def test_cells_are_cropped_from_a_plate(folder):
    write_config(folder)
    stack = crop(folder, list_it(folder / "0.5"))
    table = pd.read_parquet(stack.with_name("P1.parquet"))
    assert len(table) > 20 and set(table["treatment"]) == set(TREATMENTS)


def test_a_map_of_several_plates_gives_each_its_own_treatments(folder):
    text = "plate,well,treatment\nP0,B2,TNF-alpha\nP1,B2,DMSO\nP1,C3,TNF-alpha\n"
    table = pd.read_csv(list_it(folder / "0.4", plate_map=text))
    assert list(table["treatment"]) == ["DMSO", "DMSO", "TNF-alpha", "TNF-alpha"]
    shutil.rmtree(folder / "0.4" / "out")
    refused(folder / "0.4", "no row of plate P1", plate_map="plate,well,treatment\nP0,B2,DMSO\n")


def test_one_of_several_acquisitions_is_chosen(folder):
    def two(ome):
        images = [{"path": "0", "acquisition": 1}, {"path": "1", "acquisition": 7}]
        ome["well"]["images"] = images

    for well in plates.WELLS:
        harmed(folder / "0.5", well, two)
    refused(folder / "0.5", "2 acquisitions .1, 7. .*list_plate.acquisition")
    refused(folder / "0.5", "no field of acquisition 2 .*has 1, 7", "--acquisition", "2")
    table = pd.read_csv(list_it(folder / "0.5", "--acquisition", "7"))
    assert list(table["site"]) == [1, 1]


# ---- what is refused when a plate is listed ---------------------------------------------------


@VERSIONS
def test_a_missing_well_and_a_missing_field_are_named(folder, version):
    shutil.rmtree(folder / version / "P1.ome.zarr" / "C" / "03" / "1")
    refused(folder / version, "C/03/1 does not exist")
    shutil.rmtree(folder / version / "P1.ome.zarr" / "C")
    refused(folder / version, "C/03 does not exist")


def test_a_missing_plate_is_named_with_what_is_there(folder):
    refused(folder, "no P1.ome.zarr or P1.zarr .*0.4, 0.5")
    shutil.copytree(folder / "0.4" / "P1.ome.zarr", folder / "0.4" / "P1.zarr")
    refused(folder / "0.4", "P1.ome.zarr and P1.zarr")


def test_no_channel_is_guessed(folder):
    for path in ("B/2/0", "B/2/1", "C/03/0", "C/03/1"):
        harmed(folder / "0.4", path, lambda ome: ome.pop("omero"))
    refused(folder / "0.4", "2 channels without names: found 0 of 'dna'.*channel_labels")
    refused(folder / "0.4", "channel 1 .*two channels", "--channel-labels", "1", "1")
    refused(folder / "0.4", "found 0 of '2'", "--channel-labels", "0", "2")
    refused(folder / "0.4", "1 list_plate.channel_labels", "--channel-labels", "0")
    both = {"omero": plates.omero(["dna", "dna"])}
    harmed(folder / "0.5", "B/2/1", lambda ome: ome.update(both))
    refused(folder / "0.5", "B/2/1 .*found 2 of 'dna'")
    one = {"omero": plates.omero(["dna"])}
    harmed(folder / "0.5", "B/2/1", lambda ome: ome.update(one))
    refused(folder / "0.5", "names 1 channels and holds 2")


@pytest.mark.parametrize(("axes", "what"), [("zcyx", "planes in z"), ("tcyx", "time points")])
def test_stacks_and_time_points_are_never_read_as_their_first(tmp_path, axes, what):
    plate = plates.write_plate(tmp_path, "0.5", sites=1)
    for path in plates.WELLS:
        field = plate / path / "0"
        shutil.rmtree(field / "1")
        pixels = plates.images_of(path, 0)
        plates.write_array(field / "1", "0.5", np.stack([pixels, pixels]), axes)
        ome = plates.multiscales("0.5", axes, {"1": 1.5})
        plates.change(field, lambda said, ome=ome: said.update(multiscales=ome))
    refused(tmp_path, f"2 {what}, expected one")
    if what == "time points":
        refused(tmp_path, "2 time points, expected one", "--projection", "max")


@pytest.mark.parametrize("axes", ["czyx", "zcyx", "tczyx"])
@pytest.mark.parametrize("how", ["max", "mean"])
def test_planes_are_projected_where_the_configuration_says_how(tmp_path, axes, how):
    """Three planes of two channels: neither the first plane, nor a channel for a plane."""
    plate = plates.write_plate(tmp_path, "0.4", sites=1, axes="cyx")
    wanted = {}
    for seed, path in enumerate(plates.WELLS):
        shutil.rmtree(plate / path / "0" / "1")
        size = plates.images_of(path, 0).shape[1:]
        stack = np.random.default_rng(seed).integers(1, 4000, (2, 3, *size)).astype(np.uint16)
        wanted[path] = stack.max(axis=1) if how == "max" else np.rint(stack.mean(axis=1))
        pixels = stack.transpose(["czyx".index(name) for name in axes.replace("t", "")])
        pixels = pixels[None] if "t" in axes else pixels
        plates.write_array(plate / path / "0" / "1", "0.4", pixels, axes)
        ome = plates.multiscales("0.4", axes, {"1": 1.5})
        plates.change(plate / path / "0", lambda said, ome=ome: said.update(multiscales=ome))
    found = fields(list_it(tmp_path, "--projection", how))
    np.testing.assert_array_equal(found["B02", 0], wanted["B/2"])
    np.testing.assert_array_equal(found["C03", 0], wanted["C/03"])


@VERSIONS
def test_two_fields_of_equal_arrays_are_refused(folder, version):
    plate = folder / version / "P1.ome.zarr"
    shutil.rmtree(plate / "C" / "03" / "1")
    shutil.copytree(plate / "B" / "2" / "0", plate / "C" / "03" / "1")
    message = "same image in two fields .*well B02, site 0 .*well C03, site 1"
    refused(folder / version, message)


def scaled(size, unit="micrometer", paths=("0", "1")):
    """A change of an image: its levels have these sizes."""
    sizes = dict(zip(paths, size, strict=True))
    return lambda ome: ome.update(multiscales=plates.multiscales("0.5", "tczyx", sizes, unit))


def test_pixel_sizes_that_no_level_has_are_refused(folder):
    refused(folder / "0.5", "levels of 0.75, 1.5 um .*expected one of 1 ", pixel_um="1")
    harmed(folder / "0.5", "C/03/1", scaled((1.5, 3.0)))
    refused(
        folder / "0.5",
        "C/03/1 has levels of 1.5, 3 um a pixel, expected one of 0.75",
        pixel_um="0.75",
    )


def test_units_are_converted_or_asked_for(folder):
    paths = ("B/2/0", "B/2/1", "C/03/0", "C/03/1")
    for path in paths:
        harmed(folder / "0.5", path, scaled((750.0, 1500.0), "nanometer"))
    assert len(fields(list_it(folder / "0.5"))) == 4
    shutil.rmtree(folder / "0.5" / "out")
    for path in paths:
        harmed(folder / "0.5", path, scaled((1.0, 2.0), "pixel"))
    refused(folder / "0.5", "unit 'pixel'.*finest_pixel_size_um")
    assert len(fields(list_it(folder / "0.5", "--finest-pixel-size-um", "0.75"))) == 4


def test_metadata_and_configuration_must_agree_on_the_pixel_size(folder):
    refused(folder / "0.4", "0.75 um by its metadata and 0.65", "--finest-pixel-size-um", "0.65")


def test_an_array_of_other_axes_than_its_metadata_name_is_refused(folder):
    two = plates.multiscales("0.5", "cyx", {"0": 0.75, "1": 1.5})
    harmed(folder / "0.5", "B/2/0", lambda ome: ome.update(multiscales=two))
    refused(folder / "0.5", "B/2/0/1 has 5 axes and its metadata name 3 .c, y, x")


def test_a_level_whose_shape_belies_its_scale_is_refused(folder):
    harmed(folder / "0.5", "B/2/0", scaled((0.375, 1.5)))
    refused(folder / "0.5", "Level 1 .*150 x 160 px and the finest 300 x 320, .*differ by 4")


def test_wells_without_a_treatment_and_contradicting_wells_are_refused(folder):
    refused(folder / "0.4", "1 wells of unknown treatment .C03", plate_map="well,treatment\nB2,a\n")
    harmed(folder / "0.4", "", lambda ome: ome["plate"]["wells"][1].update(columnIndex=0))
    refused(folder / "0.4", "well 'C/03' .*columnIndex 0 is that of '2'")
    harmed(folder / "0.5", "", lambda ome: ome["plate"]["wells"].append({"path": "B/02"}))
    refused(folder / "0.5", "well B02 twice")


@pytest.mark.parametrize(
    ("path", "harm", "message"),
    [
        ("", lambda ome: ome.pop("plate"), "no 'plate' in the metadata"),
        ("", lambda ome: ome["plate"].pop("wells"), "incomplete or not of the form"),
        ("", lambda ome: ome.update(version="0.6"), "version 0.6, expected 0.4, or 0.5"),
        ("B/2", lambda ome: ome["well"].update(images=[]), "no field .*no field at all"),
        ("B/2/0", lambda ome: ome.update(multiscales=[]), "incomplete or not of the form"),
        ("B/2/0", lambda ome: ome["multiscales"][0].pop("axes"), "incomplete or not of the form"),
        ("B/2/0", lambda ome: ome["multiscales"][0]["axes"].reverse(), "expected some of t, c"),
    ],
)
def test_damaged_metadata_end_in_one_sentence(folder, path, harm, message):
    harmed(folder / "0.5", path, harm)
    refused(folder / "0.5", message)


def test_without_zarr_a_sentence_names_it(folder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    refused(folder / "0.5", "no package zarr.*pip install")


# ---- what is refused when a field is read -----------------------------------------------------


def chunks(folder, level="B/2/0/1"):
    """The files of the chunks of an array."""
    group = folder / "P1.ome.zarr" / level
    files = [path for path in group.rglob("*") if path.is_file()]
    return sorted(path for path in files if path.name not in ("zarr.json", ".zarray", ".zattrs"))


@pytest.mark.parametrize("kind", [*plates.VERSIONS, "sharded"])
def test_a_missing_chunk_is_never_read_as_zeros(folder, kind):
    chunks(folder / kind)[0].unlink()
    sheet = list_it(folder / kind)
    with pytest.raises(BrokenField, match="lacks 1 chunks of channel 0") as found:
        fields(sheet)
    assert found.value.reason == "missing chunk"


def test_a_chunk_that_a_shard_lacks_is_never_read_as_zeros(folder):
    """Of the four chunks of a shard one is left out, as a writer does that was stopped."""
    import tensorstore

    array = folder / "sharded" / "P1.ome.zarr" / "B" / "2" / "0" / "1"
    kvstore = {"driver": "file", "path": str(array)}
    store = tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result()
    store[0, 1, 0, :64, :64] = 0  # tensorstore stores no chunk of the fill value
    assert len(chunks(folder / "sharded")) == 8  # the shards are all there
    with pytest.raises(BrokenField, match="lacks 1 chunks of channel 1 .first: part of c/0/1"):
        fields(list_it(folder / "sharded"))


@pytest.mark.parametrize("kind", [*plates.VERSIONS, "sharded"])
def test_a_chunk_that_is_cut_off_is_a_broken_field(folder, kind):
    path = chunks(folder / kind)[0]
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(BrokenField, match="cut off or damaged|lacks"):
        fields(list_it(folder / kind))


@VERSIONS
def test_a_chunk_that_changes_after_the_listing_stops_the_run(folder, version):
    sheet = list_it(folder / version)
    one, other = chunks(folder / version)[:2]
    shutil.copy(other, one)
    with pytest.raises(InputError, match="its digest differs") as found:
        fields(sheet)
    assert not isinstance(found.value, BrokenField)


def test_values_beyond_the_bit_depth_are_refused(folder):
    array = folder / "0.5" / "P1.ome.zarr" / "B" / "2" / "0" / "1"
    shutil.rmtree(array)
    pixels = plates.images_of("B/2", 0)[None, :, None] * np.uint16(16)
    plates.write_array(array, "0.5", pixels, "tczyx")
    with pytest.raises(BrokenField, match="expected 0 to 4095"):
        fields(list_it(folder / "0.5"))


@pytest.mark.parametrize("place", ["", "dna", "2"])
def test_a_sheet_that_does_not_say_where_a_channel_is_is_refused(folder, place):
    sheet = list_it(folder / "0.5")
    row = pd.read_csv(sheet, dtype={"channel_nfkb": str}).iloc[0].to_dict()
    row["channel_dna"] = place
    with pytest.raises(InputError, match=f"position '{place}' of channel dna .*its 2 from 0"):
        read_field(row, CHANNELS, sheet.parent)


def test_memory_holds_one_plane_of_a_field(written, tmp_path, monkeypatch):
    """Each read of zarr is of one channel; the level that is not wanted is never read."""
    import zarr

    shutil.copytree(written / "0.5", tmp_path / "0.5")
    sheet = list_it(tmp_path / "0.5")
    sizes, plain = [], zarr.Array.__getitem__

    def watched(array, index):
        sizes.append((array.shape[-1], np.prod(plain(array, index).shape)))
        return plain(array, index)

    monkeypatch.setattr(zarr.Array, "__getitem__", watched)
    fields(sheet)
    assert set(sizes) == {(160, 150 * 160)} and len(sizes) == 4 * len(CHANNELS)


def test_what_desktops_leave_in_a_plate_changes_nothing(folder):
    sheet = list_it(folder / "0.4")
    for name in (".DS_Store", "._0"):
        (folder / "0.4" / "P1.ome.zarr" / "B" / "2" / "0" / "1" / name).write_bytes(b"x")
    assert len(fields(sheet)) == 4


def configuration(**changes):
    config = read_config()
    block = config["assays"]["translocation"]
    block |= {"source": "ome_zarr", "sheet": "/my/map.csv", "image_folder": "/my/plates"}
    config["assays"]["translocation"] = {k: v for k, v in (block | changes).items() if v}
    config["run"]["assays"] = ["translocation"]
    return config


def test_the_workflow_hands_over_the_folder_of_plates_and_the_map():
    config = configuration()
    check(config)
    files = Files(config, ROOT)
    job = SimpleNamespace(assay="translocation", plate="P1")
    assert files.raw_plate(job) == []
    given = {"raw": [], "sheet": files.named_file("sheet")(job)}
    flags = Arguments(config, files).plate_source(job, given)
    assert flags == ["--sheet", "/my/map.csv", "--folder", "/my/plates"]


@pytest.mark.parametrize("key", ["sheet", "image_folder"])
def test_an_assay_without_map_or_folder_is_refused(key):
    with pytest.raises(InputError, match=f"source 'ome_zarr' and no key '{key}'"):
        check(configuration(**{key: None}))
