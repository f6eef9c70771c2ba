"""A model of 100 kB that llama.cpp takes, written here: it says ` pong` for ever.

Its one layer does nothing, every token looks the same, and of all tokens only ` pong` points the
way that all of them look. So its answers are known, and end only where a limit does.
"""

import struct
from pathlib import Path

_WIDTH = 32
_ALIGNED = 32
_U32, _I32, _F32, _TEXT, _ARRAY = 4, 5, 6, 8, 9
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_TOKENS = ("<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁pong")
_KINDS = (_UNKNOWN, _CONTROL, _CONTROL, *[_BYTE] * 256, _NORMAL)
SAYS = "pong"


def write_model(path: Path, *, context: int = 4096) -> Path:
    """Write a GGUF file and return its path.

    Args:
        path: Where.
        context: For how many tokens it says that it was trained.
    """
    facts = [
        _fact("general.architecture", _TEXT, _text("llama")),
        _fact("tokenizer.ggml.model", _TEXT, _text("llama")),
        _fact("tokenizer.ggml.tokens", _ARRAY, _array(_TEXT, [_text(t) for t in _TOKENS])),
        _fact("tokenizer.ggml.scores", _ARRAY, _array(_F32, [bytes(4)] * len(_TOKENS))),
        _fact("tokenizer.ggml.token_type", _ARRAY, _array(_I32, [_u32(k) for k in _KINDS])),
        _fact("llama.attention.layer_norm_rms_epsilon", _F32, struct.pack("<f", 1e-5)),
        _fact("llama.context_length", _U32, _u32(context)),
        _fact("llama.block_count", _U32, _u32(1)),
        _fact("llama.attention.head_count", _U32, _u32(1)),
        _fact("llama.embedding_length", _U32, _u32(_WIDTH)),
        _fact("llama.feed_forward_length", _U32, _u32(_WIDTH)),
    ]
    tensors = _tensors()
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts)) + b"".join(facts)
    data = b""
    for name, (shape, values) in tensors.items():
        head += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, len(data))
        data += _aligned(values)
    path.write_bytes(_aligned(head) + data)
    return path


def _tensors() -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Return shape and values (32-bit floats) of each tensor by name."""
    square, table = (_WIDTH, _WIDTH), (_WIDTH, len(_TOKENS))
    row = _ones(_WIDTH)
    nothing = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    return {
        "token_embd.weight": (table, row * len(_TOKENS)),
        "output_norm.weight": ((_WIDTH,), row),
        "output.weight": (table, bytes(len(row) * (len(_TOKENS) - 1)) + row),
        "blk.0.attn_norm.weight": ((_WIDTH,), row),
        "blk.0.ffn_norm.weight": ((_WIDTH,), row),
        **{f"blk.0.{name}.weight": (square, bytes(len(row) * _WIDTH)) for name in nothing},
    }


def _ones(count: int) -> bytes:
    return struct.pack("<f", 1.0) * count


def _u32(number: int) -> bytes:
    return struct.pack("<I", number)


def _text(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _array(kind: int, items: list[bytes]) -> bytes:
    return struct.pack("<IQ", kind, len(items)) + b"".join(items)


def _fact(name: str, kind: int, value: bytes) -> bytes:
    return _text(name) + _u32(kind) + value


def _aligned(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNED)
