"""Adam for one training: torch's fused kernel without torch.optim, whose import loads torch's compiler.

That import takes 71 MB and a second, a seventh of the peak of a small training. The bits are those of
`torch.optim.Adam(fused=True)`; a test holds them together.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class Adam:
    """Moments of every parameter, and the step that they make.

    Attributes:
        state: of every parameter `step` (a scalar), `exp_avg` and `exp_avg_sq` (in its memory order: the
            kernel walks parameter, gradient and moments as flat runs of numbers).

    Source: Kingma & Ba 2015, arXiv 1412.6980, algorithm 1.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.state: dict[Parameter, dict[str, Tensor]] = {
            parameter: {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
            for parameter in parameters
        }

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move every parameter that has a gradient, at this learning rate."""
        moved = [parameter for parameter in self.state if parameter.grad is not None]
        kept = {name: [self.state[p][name] for p in moved] for name in ("step", "exp_avg", "exp_avg_sq")}
        gradients = [p.grad for p in moved if p.grad is not None]
        for count in kept["step"]:
            count += 1
        torch.ops.aten._fused_adam_(
            moved, gradients, kept["exp_avg"], kept["exp_avg_sq"], [], kept["step"],
            lr=rate, beta1=BETAS[0], beta2=BETAS[1], weight_decay=0.0, eps=EPSILON, amsgrad=False,
            maximize=False,
        )  # fmt: skip

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.state:
            parameter.grad = None
