"""Names, axes and types of every stored tensor. Shards are safetensors, one task per shard.

Codes shard (`data/codes/shard-0000.safetensors`)
    codes        int16    (clip, codebook, frame)

Activation shard (`data/activations/shard-0000.safetensors`), one tensor per hookpoint and half
    <hookpoint>/<half>            float16  (clip, step, d_model), e.g. `residual.3/cond`

Summary shard (`data/activations/summary-0000.safetensors`), float32, per hookpoint and half
    <hookpoint>/<half>/mean       (clip, d_model)   mean over steps without the partial delay steps
    <hookpoint>/<half>/var        (clip, d_model)   variance over the same steps
    <hookpoint>/<half>/early      (clip, d_model)   mean over the first 10 % of those steps
    <hookpoint>/<half>/late       (clip, d_model)   mean over the last 10 %
    <hookpoint>/<half>/norm       (clip, step)      L2 norm, every step
    twin/<hookpoint>/<half>/mean  (clip, d_model)   the random twin, teacher-forced on the same tokens

Attention shard (`data/activations/attention-0000.safetensors`), where generate.attention is true: summaries
made while generating, conditional half, every step; a map is never stored
    cross/entropy                 float16  (clip, layer, head, step)  nats, over the prompt's tokens
    cross/<emotion|control|end>   float16  (clip, layer, head, step)  mass on the tokens of a class
    self/entropy                  float16  (clip, layer, head, step)  nats, over the steps so far
    self/distance                 float16  (clip, layer, head, step)  mean distance looked back, steps
    self/first                    float16  (clip, layer, head, step)  mass on the first step
    twin/cross/<reading>          float32  (clip, layer, head)        the random twin, teacher-forced on the
                                                                      same tokens; mean over complete steps
    tokens                        int16    (clip, class)              tokens per class of `attention.words`

Embeddings (`data/embeddings/embeddings.safetensors`), float32
    text (prompt, d_text) · projected (prompt, d_model) · twin (prompt, d_text) · bow (prompt, word)
    tokens (sum of n_tokens, d_text) · tokens_projected (sum of n_tokens, d_model), rows of a prompt
    contiguous, in the order of the table
    metadata: `prompt_ids`, `n_tokens` of each, `words` (the columns of bow), `model`, `twin`
"""

SUMMARIES = ("mean", "var", "early", "late")
ENCODERS = ("bow", "text", "projected", "twin")
WINDOW = 0.10
"""Share of the steps in the early and the late window (the user's first 10 % / last 10 %)."""


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
