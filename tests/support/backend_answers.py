"""What real backends answered when they were asked for their models, shortened by equal rows."""

from typing import Any

# Ollama 0.32.15 to GET /api/tags, asked for models that were made with `ollama create`.
OLLAMA_TAGS: dict[str, Any] = {
    "models": [
        {
            "name": name,
            "model": name,
            "modified_at": "2026-11-23T08:40:58.777800222Z",
            "size": 126327,
            "digest": "cad41412bce55d0636ad6410bfba0735946cb73ab49edb9b3f7fcf92bee364b7",
            "details": {
                "parent_model": "",
                "format": "gguf",
                "family": "llama",
                "families": ["llama"],
                "parameter_size": "30K",
                "quantization_level": "unknown",
                "context_length": 256,
                "embedding_length": 32,
            },
            "capabilities": can,
        }
        for name, can in (
            ("emb:latest", ["embedding"]),
            ("vis:latest", ["vision", "completion"]),
            ("Big/Model:Q4_K_M", ["completion"]),
            ("hf.co/me/tiny-GGUF:Q8_0", ["completion"]),
            ("qwen3:latest", ["completion"]),
        )
    ]
}
# And to GET /v1/models while it has none.
OLLAMA_NO_MODEL: dict[str, Any] = {"object": "list", "data": None}
# vLLM 0.32.0 to GET /v1/models, started with `--served-model-name qwen qwen-alias`.
VLLM_MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {
            "id": name,
            "object": "model",
            "created": 1795423067,
            "owned_by": "vllm",
            "root": "/srv/model",
            "parent": None,
            "max_model_len": 512,
            "permission": [
                {
                    "id": "modelperm-b4a5a7ce9d180e76",
                    "object": "model_permission",
                    "created": 1795423067,
                    "allow_create_engine": False,
                    "allow_sampling": True,
                    "allow_logprobs": True,
                    "allow_search_indices": False,
                    "allow_view": True,
                    "allow_fine_tuning": False,
                    "organization": "*",
                    "group": None,
                    "is_blocking": False,
                }
            ],
        }
        for name in ("qwen", "qwen-alias")
    ],
}
# The same with 401, where `--api-key` wants another key or one at all.
VLLM_REFUSES: dict[str, Any] = {"error": "Unauthorized"}
