"""Normalising flows F with log p_F(w) = log p(z) + log |det J_F(w)|, z = F(w) (Eq. 4).

Masked autoregressive flows (Papamakarios et al. 2017), five blocks in the article, and RealNVP
(Dinh et al. 2016) come from nflows and have one interface. Styles w are standardised per dimension
first. The constant -sum log sd is kept, so that log p is the density of w itself, in nats.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rls.io import read_weights, write_weights
from rls.prior.settings import FLOWS
from rls.runtime.errors import InputError

try:
    from nflows.flows.autoregressive import MaskedAutoregressiveFlow
    from nflows.flows.realnvp import SimpleRealNVP
    from nflows.transforms.made import MaskedLinear
    from nflows.transforms.normalization import BatchNorm
except ImportError as error:
    raise InputError(
        "Found no package nflows, expected it beside torch: flows are built from it. Run "
        "'pip install -r requirements.lock' and the same command again, or search without a flow."
    ) from error

# Not stored: these tensors are as large as the weights, and the constructor makes them again.
DERIVED = (".mask", ".degrees")
ROWS_AT_ONCE = 8192


class StyleFlow(nn.Module):
    """A flow on style vectors w of dimension d.

    Arguments:
        kind: ``maf`` or ``realnvp``.
        features: d.
        hidden: Width of the hidden layers.
        n_blocks: Number of flow blocks; a batch norm follows each.

    Raises:
        InputError: The kind is unknown, or d is below 2.
    """

    mean: Tensor
    sd: Tensor
    fitted: Tensor

    def __init__(self, kind: str, features: int, hidden: int, n_blocks: int) -> None:
        super().__init__()
        if kind not in FLOWS:
            raise InputError(f"The flow is '{kind}', expected one of {', '.join(FLOWS)}.")
        if features < 2:
            raise InputError(f"A flow needs styles of 2 or more dimensions; found {features}.")
        self.kind, self.features, self.hidden, self.n_blocks = kind, features, hidden, n_blocks
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("sd", torch.ones(features))
        self.register_buffer("fitted", torch.tensor(False))
        self.frozen = False
        # One feedforward block has two masked hidden layers, as in the authors' MADE.
        shape = {"num_blocks_per_layer": 1, "batch_norm_between_layers": True}
        if kind == "maf":
            self.flow = MaskedAutoregressiveFlow(
                features, hidden, n_blocks, use_residual_blocks=False, **shape
            )
        else:
            self.flow = SimpleRealNVP(features, hidden, n_blocks, **shape)

    def standardise(self, w: Tensor) -> Tensor:
        """Return (w - mean) / sd of styles (n, d)."""
        return (w - self.mean) / self.sd

    def log_prob(self, w: Tensor) -> Tensor:
        """Return log p_F(w) in nats, shape (n,), of styles (n, d) (Eq. 4)."""
        self.need_fit()
        return self.unchecked_log_prob(w)

    def unchecked_log_prob(self, w: Tensor) -> Tensor:
        """Return :meth:`log_prob` without a look at whether the flow was fitted."""
        return self.flow.log_prob(self.standardise(w)) - self.sd.log().sum()

    def to_noise(self, w: Tensor) -> Tensor:
        """Return z = F(w), shape (n, d), which is standard normal if the flow fits."""
        self.need_fit()
        return self.flow.transform_to_noise(self.standardise(w))

    def from_noise(self, z: Tensor) -> Tensor:
        """Return w = F^-1(z), shape (n, d), the style that :meth:`to_noise` maps to z (n, d).

        A masked autoregressive flow inverts one dimension after the other, so that this takes d
        times as long as :meth:`to_noise`; RealNVP takes the same time both ways.
        """
        self.need_fit()
        return self.flow._transform.inverse(z)[0] * self.sd + self.mean

    @torch.no_grad()
    def set_scale(self, w: Tensor) -> None:
        """Set mean and sd per dimension to those of the training styles (n, d).

        Raises:
            InputError: A dimension is constant or not finite.
        """
        sd, mean = torch.std_mean(w.double(), dim=0)
        if not bool(torch.isfinite(mean).all()) or not bool((sd > 0).all()):
            raise InputError(
                "The styles have a dimension that is constant or not finite, so their density "
                "cannot be fitted. Was the generator trained?"
            )
        self.mean.copy_(mean)
        self.sd.copy_(sd)

    @torch.no_grad()
    def recompute_batch_norm(self, w: Tensor) -> None:
        """Set every batch norm to the statistics of the whole training set (n, d), layer by layer.

        The running averages of training lag behind the weights, and with them log p of a
        validation set would mean nothing. The flow counts as fitted afterwards.
        """
        training = self.training
        self.eval()
        x = self.standardise(w)
        for layer in self.flow._transform._transforms:
            if isinstance(layer, BatchNorm):
                variance, mean = torch.var_mean(x.double(), dim=0)
                layer.running_mean.copy_(mean)
                layer.running_var.copy_(variance)
            x = torch.cat([layer(part)[0] for part in x.split(ROWS_AT_ONCE)])
        self.fitted.fill_(True)
        self.train(training)

    def freeze(self) -> StyleFlow:
        """Return the flow as a constant of a search: in eval mode, without gradients of weights.

        Masks are multiplied into the weights.

        Raises:
            InputError: The flow was not fitted.
        """
        self.eval().requires_grad_(False)
        self.need_fit()
        # A frozen flow has been checked; checking again would force a GPU synchronisation.
        self.frozen = True
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, MaskedLinear):
                    setattr(module, name, _folded(child))
        return self

    def need_fit(self) -> None:
        """Raise InputError if the flow is evaluated before it was fitted.

        In training mode, where batch norms use the statistics of their batch, only the loss of a
        fit is computed.
        """
        if not self.frozen and not self.training and not bool(self.fitted):
            raise InputError(
                "The flow was not fitted, so its density means nothing. Run the stage fit_flow."
            )


def _folded(layer: MaskedLinear) -> nn.Linear:
    """Return the plain linear layer that equals a masked layer."""
    plain = nn.Linear(layer.in_features, layer.out_features, device=layer.weight.device)
    plain.weight.data = layer.weight.data * layer.mask
    plain.bias.data = layer.bias.data
    return plain.to(layer.weight.dtype).requires_grad_(False)


def write_flow(path: Path | str, flow: StyleFlow, header: Mapping[str, Any]) -> None:
    """Write a fitted flow; ``header`` adds settings, the digest of the styles, log p and more."""
    shape = {name: getattr(flow, name) for name in ("features", "hidden", "n_blocks")}
    tensors = {k: v for k, v in flow.state_dict().items() if not k.endswith(DERIVED)}
    write_weights(path, tensors, {**header, **shape, "kind": "flow", "flow": flow.kind})


def read_flow(
    path: Path | str, device: torch.device | str = "cpu"
) -> tuple[StyleFlow, dict[str, Any]]:
    """Return (a frozen flow, its header).

    Raises:
        InputError: The file is missing or damaged, holds no flow, or its tensors do not fit its
            header.
    """
    tensors, header = read_weights(path, kind="flow")
    flow = StyleFlow(header["flow"], header["features"], header["hidden"], header["n_blocks"])
    try:
        missing, unexpected = flow.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise InputError(f"The tensors of {path} do not fit its header: {error}") from error
    missing = [name for name in missing if not name.endswith(DERIVED)]
    if missing or unexpected:
        raise InputError(f"{path} lacks {missing} or has more than a flow: {unexpected}.")
    return flow.to(device).freeze(), header
