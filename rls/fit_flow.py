"""Fit the normalising flow p_F to style vectors w (Eq. 4, sections 3.1.2 and 4.1).

Maximum likelihood by Adam with early stopping on held-out styles; the weights of the best epoch
are kept. The header of the result has the flow's validation log p beside that of a Gaussian with
diagonal and with full covariance: a flow that does not beat the latter has learned no shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rls.prior.settings import MAY_CHANGE, Settings
from rls.runtime.command import Parser, run


def main(argv: Sequence[str] | None = None) -> None:
    """Read styles, write the flow."""
    parser = Parser(__doc__, Settings, "fit_flow")
    parser.add_argument("--styles", type=Path, required=True, help="styles.safetensors")
    parser.add_argument("--output", type=Path, required=True, help="flow.safetensors to write")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.io import read_weights
    from rls.prior.fitting import fit_flow, measure_fit, split_styles
    from rls.prior.flows import write_flow
    from rls.runtime.checkpoint import StateFolder, identity
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder

    device = choose_device(settings.device, settings.threads)
    tensors, header = read_weights(args.styles, kind="styles")
    w = tensors["w"].float()
    train, validation = split_styles(w, settings.validation_share, settings.seed)
    train, validation = train.to(device), validation.to(device)
    print(
        f"fit_flow: {len(train)} styles of {w.shape[1]} dimensions to fit, {len(validation)} to "
        f"judge; at most {settings.max_epochs} epochs",
        flush=True,
    )
    recorder = Recorder(device, settings.cuda_graphs)
    print(f"fit_flow: {recorder.describe('steps')}", flush=True)
    known = identity(settings, MAY_CHANGE, styles=header["digest"])
    with (
        recorder.stream(),
        StateFolder(
            args.state, "fit_flow", known, output=args.output, machine=computed_on(device)
        ) as state,
    ):
        fit = fit_flow(train, validation, settings, state, recorder)
        facts = measure_fit(fit, train, validation)
        facts |= {"styles_digest": header["digest"], "settings": asdict(settings)}
        write_flow(args.output, fit.flow, facts)
        state.clear()
    for name in ("validation", "gaussian_full", "gaussian_diagonal"):
        print(f"fit_flow: {name} log p {facts[name + '_log_prob']} nats")
    print(
        f"fit_flow: squared norm of F(w) {facts['validation_squared_norm_mean']:.1f} "
        f"+- {facts['validation_squared_norm_sd']:.1f}, chi-squared {w.shape[1]} "
        f"+- {facts['chi_squared_sd']:.1f}"
    )


if __name__ == "__main__":
    run(main)
