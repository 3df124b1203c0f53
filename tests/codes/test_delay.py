"""The delay pattern against hand-worked values, transformers and its own inverse."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moodlens.base.errors import ContractError
from moodlens.base.units import steps_for
from moodlens.codes.delay import apply_delay, undo_delay


def test_three_codebooks_by_hand():
    codes = torch.tensor([[[10, 11, 12], [20, 21, 22], [30, 31, 32]]])
    assert apply_delay(codes, pad_id=99).tolist() == [
        [[99, 10, 11, 12, 99, 99], [99, 99, 20, 21, 22, 99], [99, 99, 99, 30, 31, 32]]
    ]


def test_state_at_step_i_predicts_codebook_k_of_frame_i_minus_k():
    codes = torch.arange(2 * 4 * 7).view(2, 4, 7)
    targets = apply_delay(codes, pad_id=999)[:, :, 1:]
    assert targets.shape[-1] == steps_for(7, 4)
    for k in range(4):
        for step in range(targets.shape[-1]):
            frame = step - k
            expected = codes[:, k, frame] if 0 <= frame < 7 else torch.full((2,), 999)
            assert torch.equal(targets[:, k, step], expected)


@given(st.integers(1, 4), st.integers(1, 8), st.integers(1, 20), st.integers(0, 2**31 - 1))
def test_undo_inverts_apply(n_clips: int, n_codebooks: int, n_frames: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 512, (n_clips, n_codebooks, n_frames), generator=generator)
    assert torch.equal(undo_delay(apply_delay(codes, pad_id=512)), codes)


def test_agrees_with_the_mask_of_transformers():
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    tiny = MusicgenDecoderConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, ffn_dim=8, num_codebooks=4
    )
    n_frames, pad_id = 5, 16
    start = torch.full((4, 1), pad_id)
    _, mask = MusicgenForCausalLM(tiny).build_delay_pattern_mask(start, pad_id, max_length=n_frames + 4)
    ours = apply_delay(torch.zeros((1, 4, n_frames), dtype=torch.long), pad_id)[0]
    assert torch.equal(mask == pad_id, ours == pad_id)


def test_a_sequence_without_a_whole_frame_is_refused():
    with pytest.raises(ContractError, match="more than 4 columns"):
        undo_delay(torch.zeros((1, 4, 4), dtype=torch.long))
