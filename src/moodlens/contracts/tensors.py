"""Names, axes and number formats of every stored tensor. A shard is the safetensors file of one task.

Codes shard (`data/codes/shard-0000.safetensors`)
    codes        int16    (clip, codebook, frame)

Activation shard (`data/activations/shard-0000.safetensors`), one tensor per hookpoint and half
    <hookpoint>/<half>            float16  (clip, step, d_model), e.g. `residual.3/cond`
    float32 if generate.store_dtype is float32. Stored is every step_stride-th step, from step 0, inside one
    of generate.windows (`stored_steps`). The file is absent under generate.pooled_only. The manifest's
    `capture` has these settings, with windows in steps

Summary shard (`data/activations/summary-0000.safetensors`), float32, per hookpoint and half
    <hookpoint>/<half>/mean       (clip, d_model)   mean over steps without the partial delay steps
    <hookpoint>/<half>/var        (clip, d_model)   variance over the same steps
    <hookpoint>/<half>/early      (clip, d_model)   mean over the first 10 % of those steps
    <hookpoint>/<half>/late       (clip, d_model)   mean over the last 10 %
    <hookpoint>/<half>/norm       (clip, step)      L2 norm, every step
    twin/<hookpoint>/<half>/mean  (clip, d_model)   the random twin, teacher-forced on the same tokens
    codec/latent/mean             (clip, d_codec)   mean over frames of the latent that the codec decodes

Re-encoded shard (`data/reencoded/summary-0000.safetensors`): the tokens of codes shard 0000 teacher-forced,
<model>: model · twin (untrained) · random_decoder (untrained, behind the trained text encoder)
<condition>: own (the clip's text) · null (zero after projection) · swapped (text of another emotion)
    <model>/<condition>/<hookpoint>/mean, early, late   float16  (clip, width)   windows as above
    <model>/<condition>/<hookpoint>/var                 float32  (clip, width)   squares overflow float16
    <model>/<condition>/<hookpoint>/steps               float16  (clip, stored, width)   single steps
    codec/history                                       float32  (clip, stored, d_codec)  mean vector of the
        frames available at each stored step, codebooks summed; 0 where a codebook has none yet
    metadata: `clips`, `steps` (decoder step of each stored state)

Memory shard (`data/reencoded/memory-0-0000.safetensors`): untrained decoder 0 on the tokens of codes shard
0000 under null text. Decoder 0 is the twin, decoder 1 the random decoder; further random decoders follow
    <hookpoint>                         float16  (clip, memory, stored, width)  sums of its states up to each
        stored step, in the order of MEMORIES; hookpoints of NO_STATE are left out

Recurrent shard (`data/reencoded/recurrent-0000.safetensors`): a small network that reads the tokens alone
    echo, recurrent                     float16  (clip, memory, stored, unit)  before and after it is trained
        to predict tokens; memories as above

Attention shard (`data/activations/attention-0000.safetensors`), if generate.attention is true: summaries made
during generation, conditional half, every step. Attention maps are never stored
    cross/entropy                 float16  (clip, layer, head, step)  nats, over the prompt's tokens
    cross/<emotion|control|end>   float16  (clip, layer, head, step)  attention mass on the tokens of a class
    self/entropy                  float16  (clip, layer, head, step)  nats, over the steps so far
    self/distance                 float16  (clip, layer, head, step)  mean distance attended back, steps
    self/first                    float16  (clip, layer, head, step)  mass on the first step
    twin/cross/<summary>          float32  (clip, layer, head)        the random twin, teacher-forced on the
                                                                      same tokens; mean over complete steps
    tokens                        int16    (clip, class)              tokens per class of `attention.words`

Embeddings (`data/embeddings/embeddings.safetensors`), float32
    text (prompt, d_text) · projected (prompt, d_model) · twin (prompt, d_text) · bow (prompt, word)
    tokens (sum of n_tokens, d_text) · tokens_projected (sum of n_tokens, d_model), rows of a prompt
    contiguous, in the order of the table
    metadata: `prompt_ids`, `n_tokens` and `n_unknown` of each, `words` (the columns of bow), `model`, `twin`
"""

from collections.abc import Sequence

WHOLE_SITES = ("embedding", "final_norm", "logits")
"""Sites of the whole decoder: input of layer 0, output of the final norm, logits of all codebooks. They
belong to no layer and are written as layer 0 (`final_norm.0`), so that every hookpoint has the form
<site>.<layer>."""

MODELS = ("model", "twin", "random_decoder")
CONDITIONS = ("own", "null", "swapped")
NO_STATE = ("embedding", "cross_attention")
"""Sites that hold no state under null text: the input, and an output that is exactly 0."""
LEAKS = (0.5, 0.8, 0.9, 0.95, 0.98)
"""Share of its value that a leaky sum keeps from one step to the next."""
MEMORIES = ("states", "running mean", *(f"leak {leak:g}" for leak in LEAKS))
"""Memories of an untrained decoder's states x_t: the state itself, the mean of x_0 .. x_t, and for each leak
m_t = leak * m_(t-1) + (1 - leak) * x_t from m_(-1) = 0."""
NETWORKS = ("echo", "recurrent")
"""The recurrent network that reads the tokens, before training (an echo state network) and after."""
CODEC_MEAN = "codec/latent/mean"
CODEC_HISTORY = "codec/history"

SUMMARIES = ("mean", "var", "early", "late")
ENCODERS = ("bow", "text", "projected", "twin")
WINDOW = 0.10
"""Share of the steps in the early window (the first 10 %) and in the late window (the last 10 %)."""


def stored_steps(n_steps: int, step_stride: int, windows: Sequence[tuple[int, int]] = ()) -> tuple[int, ...]:
    """Return the decoder steps whose states are stored, ascending.

    Args:
        n_steps: decoder steps of a clip.
        step_stride: every step_stride-th step, counted from step 0.
        windows: (first step, step after the last); only steps inside one of them; empty: all steps.

    >>> stored_steps(7, 3), len(stored_steps(503, 1)), stored_steps(20, 2, [(3, 7), (15, 30)])
    ((0, 3, 6), 503, (4, 6, 16, 18))
    """
    inside = range(0, n_steps, step_stride)
    if not windows:
        return tuple(inside)
    return tuple(step for step in inside if any(first <= step < stop for first, stop in windows))


def hookpoint(site: str, layer: int) -> str:
    """Return the name of a hookpoint.

    >>> hookpoint("residual", 3)
    'residual.3'
    """
    return f"{site}.{layer}"


def shard_name(kind: str, shard: int) -> str:
    """Return the file name of a shard.

    >>> shard_name("summary", 7)
    'summary-0007.safetensors'
    """
    return f"{kind}-{shard:04d}.safetensors"


ROUNDING = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
"""Largest relative rounding error of a number format; float32 has 0, because the tolerance covers it."""
N_ROUNDINGS = 64
"""Roundings that sums over many layers may accumulate, in root mean squares (docs/checkpoints.md)."""


def forced_limit(tolerance: float, dtype: str) -> float:
    """Return the largest allowed difference between re-encoded and generated states, in root mean squares.

    >>> forced_limit(1e-3, "float32"), forced_limit(1e-3, "bfloat16")
    (0.001, 0.25)

    Args:
        tolerance: reencode.tolerance, the limit in float32.
        dtype: number format in which the model computes.
    """
    return max(tolerance, N_ROUNDINGS * ROUNDING[dtype])
