"""How one layer attends."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Attention:
    """The numbers of one layer's attention, as GroupQueryAttention wants them.

    Attributes:
        num_heads: query heads.
        kv_num_heads: key and value heads, each shared by num_heads / kv_num_heads query heads.
        head_size: width of a head.
        scale: factor on the products of queries and keys.
        softcap: cap on the scaled products, cap * tanh(x / cap); 0 for none.
        window: how many tokens back a token attends, itself included; 0 for all.
        rotary: which rotary embedding turns queries and keys ("global" or "local"), None for none.
    """

    num_heads: int
    kv_num_heads: int
    head_size: int
    scale: float
    softcap: float = 0.0
    window: int = 0
    rotary: str | None = "global"
