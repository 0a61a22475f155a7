"""Measure how constant a generator's Jacobian is: the term of Eq. 2 that the article drops.

log p_G(G_s(w)) = log p_w(w) - 1/2 log det J_w^T J_w. The article drops the second term "as the path
length penalty in StyleGAN2 implies that the Jacobian determinant is constant" (section 3.1.1). The
penalty (Karras et al. 2020, "Analyzing and improving the image quality of StyleGAN", section 3.2)
asks that |J_w^T y| be constant over w and random images y. This command measures, over styles
w = G_m(z):

* path_length: |J_w^T y|, y ~ N(0, I) / sqrt(h w), over the styles of W+, as in training;
* step_length: |J_w u| for a random unit vector u of W, which is how far the image moves when all
  styles move together by 1, in units of an image in [-1, 1]: the root of the sum of squares over
  pixels and channels;
* half_log_det: 1/2 log det J_w^T J_w in nats, of the Jacobian with respect to W (all styles move
  together), and condition_number: the largest over the smallest singular value of J_w;
* log_p_flow: log p_F(w) in nats, which the search weighs, if a flow is given.

J_w u is exact, by forward-mode differentiation, and the noise maps are the generator's own. In W+
there is no determinant: J^T J is singular wherever w_dim exceeds the features that a style
modulates.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.runtime.command import Parser, run
from rls.runtime.errors import InputError
from rls.stylegan2.jacobian_settings import Settings

NAME = "path_lengths"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument(
        "--generator", type=Path, required=True, help="generator.safetensors or a model folder"
    )
    parser.add_argument("--output", type=Path, required=True, help="table, *.parquet or *.csv")
    parser.add_argument("--flow", type=Path, help="flow.safetensors, for log p_F; needs --styles")
    parser.add_argument("--styles", type=Path, help="styles that the flow was fitted on")
    args, settings = parser.parse(argv)
    if args.output.suffix not in (".parquet", ".csv"):
        raise InputError(f"Found --output {args.output}, expected *.parquet or *.csv. Rename it.")
    if (args.flow is None) != (args.styles is None):
        raise InputError("Found one of --flow and --styles, expected both or none. Give the other.")
    # Imported here, so that --help does not wait for torch.
    from rls.io import write_table
    from rls.runtime.device import choose_device
    from rls.stylegan2 import jacobian
    from rls.stylegan2.generator_io import load_generator
    from rls.stylegan2.jacobian_table import summary

    device = choose_device(settings.device, settings.threads)
    generator = load_generator(args.generator, device)
    flow = args.flow and jacobian.read_flow_of(generator, args.flow, args.styles, device)
    table = jacobian.measure(generator, settings, flow)
    table["generator_digest"] = generator.header["digest"]
    write_table(args.output, table, written_by=NAME)
    print(summary(table), flush=True)


if __name__ == "__main__":
    run(main)
