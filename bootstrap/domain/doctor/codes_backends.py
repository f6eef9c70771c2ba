"""KT5xx: what runs the models. Tried on llama.cpp's own server, vLLM, Ollama and Redis 7."""

from bootstrap.domain.doctor.finding import Code

UNREACHABLE = Code(
    "KT501",
    "a backend does not answer, or is not ready",
    "Its models fail, or their fallbacks answer instead.",
    "start it, or correct backends.NAME.url in lab.toml",
    "It was asked which models it has, for three seconds at most, without a proxy. A server on "
    "this machine that is started when it is wanted is found, too. An answer of 500 or above is "
    "that of a server which is not ready: llama.cpp says 503 while it loads its model. After a 404 "
    "the address is that of another program, or has a wrong path. A redirect is not followed: a "
    "key would go with it.",
)
MODEL_MISSING = Code(
    "KT502",
    "a backend does not have a model of the lab",
    "Requests for it fail, or another model answers instead.",
    "load it there, or correct the model's upstream in lab.toml",
    "Ollama was asked for /api/tags, every other server for /v1/models. To Ollama `name`, `NAME` "
    "and `library/name:latest` are the same, and a name in `:cloud` or `-cloud` needs no pull. "
    "vLLM wants what `--served-model-name` says, to the letter. llama.cpp answers with the model "
    "that it was started with, whatever is asked for, so there it is a note. It calls a model by "
    "the path of its file, whose name is enough.",
)
KEY_REFUSED = Code(
    "KT503",
    "a backend refuses its key",
    "Its models fail with the provider's error, which looks like one of the gateway's.",
    "give it the right one: keyturn rotate NAME --value-stdin",
    "The backend answered 401 or 403 to the question which models it has, or, if it is a llama.cpp "
    "that tells that to anybody (b8929 does, b11549 does not), to GET /props. Without a key in "
    "lab.toml none was sent: then it wants one.",
)
TOO_LONG = Code(
    "KT506",
    "a model may answer at more length than its vLLM has room for",
    "A client that asks for that much, as droid does each time, gets a 400.",
    "write a smaller output_tokens for it in lab.toml, keyturn apply",
    "vLLM says max_model_len in /v1/models: the tokens of a request and of its answer together "
    "(`--max-model-len`). It refuses a request whose max_tokens alone is as large, and does not "
    "shorten it. Without output_tokens keyturn allows 16384, or half of context_tokens.",
)
REDIS = Code(
    "KT504",
    "Redis does not answer as the lab says",
    "The gateway goes on without its cache, and says so nowhere.",
    "start it, or mend [redis] in lab.toml",
    "A connection was opened, the password sent and PING asked. LiteLLM starts and answers with a "
    "Redis that is down or refuses the password; only /cache/ping says it.",
)
CACHE_UNUSED = Code(
    "KT505",
    "the gateway does not reach its cache",
    "Every answer is paid for again.",
    "keyturn apply --force, or see what differs: keyturn plan",
    "Redis answers keyturn, but GET /cache/ping of the gateway is not answered with 200: its "
    "config names another place or password, or none.",
)
