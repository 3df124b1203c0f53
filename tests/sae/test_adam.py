"""Adam without torch.optim: torch.optim's bits, without its imports."""

import subprocess
import sys

import torch

from moodlens.sae.adam import Adam
from tests.sae.planted import random_rows, random_sae


def test_the_bits_are_those_of_torch_optim():
    ours, theirs = random_sae("jumprelu"), random_sae("jumprelu")
    mine, its = Adam(ours.parameters()), torch.optim.Adam(theirs.parameters(), lr=0.0, fused=True)
    none = torch.empty(0, dtype=torch.int64)
    for number, rate in enumerate((1e-2, 3e-3, 0.5)):
        x = random_rows(seed=number)
        its.param_groups[0]["lr"] = rate
        for sae, optimizer in ((ours, mine), (theirs, its)):
            optimizer.zero_grad()
            sae.losses(x, none, 1.0).total.backward()
            if number == 1:  # a parameter that has no part in a step keeps its moments
                sae.b_dec.grad = None
        mine.step(rate)
        its.step()
    for name, parameter in ours.named_parameters():
        other = theirs.get_parameter(name)
        assert torch.equal(parameter, other), name
        assert mine.state[parameter].keys() == its.state[other].keys()
        for key, moment in mine.state[parameter].items():
            assert torch.equal(moment, its.state[other][key]), (name, key)


def test_both_orders_of_memory_give_the_same_step():
    sae = random_sae("relu", d_in=5, d_sae=7)
    gradient = random_rows(5, 7)
    plain = torch.nn.Parameter(sae.W_enc.detach().contiguous().clone())
    assert sae.W_enc.t().is_contiguous()
    for weight in (sae.W_enc, plain):
        weight.grad = gradient.clone() if weight is plain else torch.empty_like(weight).copy_(gradient)
        Adam([weight]).step(0.1)
    torch.testing.assert_close(sae.W_enc.detach(), plain.detach())


def test_a_training_does_not_load_the_compiler_of_torch():
    code = (
        "import sys, numpy as np\n"
        "from moodlens.sae.catalog import config_for\n"
        "from moodlens.sae.plan import Plan\n"
        "from moodlens.sae.trainer import train\n"
        "rows = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)\n"
        "train(config_for('topk', {'d_in': 4, 'd_sae': 8, 'k': 2}), lambda: [rows], lambda: [rows],\n"
        "      Plan(n_epochs=1, batch_rows=32, buffer_rows=64))\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False", "71 MB and a second of every training"
