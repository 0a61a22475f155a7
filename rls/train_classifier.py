"""Train a classifier of the negative against the positive control, on one stack (section 4.2).

Cross-entropy over single cells of the split ``classifier`` in random quarter turns and flips; the
epoch with the lowest cross-entropy on the split ``tune`` is kept. Cells of other splits and of
other treatments are never read. On the high-resolution stack it is the classifier of Table 2 and
the feature extractor of KD and FD; on a low-resolution stack it is one of the rows "LR".

``--more-cells`` adds the generator's training cells, of the split ``gan``: the classifier of LR
that has seen as many cells as super-resolution has.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rls.io.splits import CHOOSE, CLASSIFY, CLASSIFY_ALL
from rls.networks.classifier_settings import MAY_CHANGE, Settings
from rls.runtime.command import Parser, run

NAME = "train_classifier"


def main(argv: Sequence[str] | None = None) -> None:
    """Read the stack, train, and write the classifier."""
    parser = Parser(__doc__, Settings, NAME)
    parser.add_argument("--stack", type=Path, required=True, help="HR or LR stack (*.ome.tif)")
    parser.add_argument("--more-cells", type=Path, help="a stack of the same kind, of split gan")
    parser.add_argument("--intensity", type=Path, required=True, help="intensity.json")
    parser.add_argument("--negative-control", required=True, help="treatment of class 0")
    parser.add_argument("--positive-control", required=True, help="treatment of class 1")
    parser.add_argument("--output", type=Path, required=True, help="classifier.safetensors")
    parser.add_argument("--state", type=Path, required=True, help="folder of checkpoints")
    args, settings = parser.parse(argv)
    # Imported here, so that --help does not wait for torch.
    from rls.networks import classifier_cells as cells
    from rls.networks import classifier_training as classifier
    from rls.runtime.checkpoint import StateFolder, identity
    from rls.runtime.device import choose_device, computed_on
    from rls.runtime.graphs import Recorder

    device = choose_device(settings.device, settings.threads)
    stack, intensity = cells.read_assay(args.stack, args.intensity, args.more_cells)
    use = CLASSIFY_ALL if args.more_cells else CLASSIFY
    controls = (args.negative_control, args.positive_control)
    training, tune = (cells.cells_for(u, stack, intensity, controls) for u in (use, CHOOSE))
    data = classifier.describe_data(stack, intensity, controls)
    known = identity(settings, MAY_CHANGE, data=data["data_digest"], controls=controls)
    recorder = Recorder(device, settings.cuda_graphs)
    print(f"{NAME}: {recorder.describe('steps')}", flush=True)
    with (
        recorder.stream(),
        StateFolder(
            args.state, NAME, known, output=args.output, machine=computed_on(device)
        ) as folder,
    ):
        state = classifier.train(training, tune, settings, device, folder, recorder, use)
        classifier.write_classifier(args.output, state, training, tune, settings, data)


if __name__ == "__main__":
    run(main)
