"""KT3xx: the gateway. Seen with LiteLLM 1.106.2 and systemd 252."""

from bootstrap.domain.doctor.finding import Code

OPEN = Code(
    "KT301",
    "the gateway serves requests without the right key",
    "Anybody who reaches the port uses every model at your expense.",
    "keyturn service stop && keyturn apply",
    "GET /v1/models was answered although no key, or a made-up one, was sent. LiteLLM before "
    "1.106 serves openly where its master key is unset; later ones do with "
    "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY.",
)
NOT_IN_FORCE = Code(
    "KT302",
    "the gateway does not accept the lab's key",
    "Every client that has the right key is refused.",
    "keyturn apply, or look what is wrong: keyturn check",
    "LiteLLM reads its key once, when it starts; a process that was started before the key was "
    "replaced by hand goes on with the old one. A wrong key gets 400 or 401, by version.",
)
WEAK = Code(
    "KT303",
    "a master key that can be guessed",
    "Whoever guesses it uses every model, and reads what the gateway has stored.",
    "keyturn rotate",
    "A key has at least 32 varied characters, none of them white space or outside ASCII. Values "
    "of sample files, such as sk-1234, are tried first by those who scan for open gateways; "
    "LiteLLM 1.106 refuses to start with that one.",
)
SILENT = Code(
    "KT304",
    "the gateway does not run or does not answer",
    "No client gets an answer.",
    "keyturn apply, or look why it ended: keyturn service log",
    "LiteLLM takes 10 to 20 seconds until it answers, longer after an installation. Where systemd "
    "holds the port open, requests wait meanwhile; where not, they are refused.",
)
PORT_TAKEN = Code(
    "KT305",
    "another program has the gateway's port",
    "Clients talk to that program, and send it their key.",
    "stop that program, or choose another port: gateway.port in lab.toml",
    "The process that listens there is not the one that the service manager runs. It may be a "
    "gateway that was started by hand (nohup), which keyturn adopt takes over. LiteLLM itself, "
    "started where port 4000 is taken, silently serves on a random port.",
)
OLDER = Code(
    "KT306",
    "the gateway was started before its files were written",
    "It reads them once, at its start, so what you see in them is not in force.",
    "keyturn service restart",
    "Compared are the start of the process, and when config.yaml and the service's env file were "
    "written. LiteLLM has no signal and no call that makes it read them again.",
)
OTHER_KEY = Code(
    "KT307",
    "the gateway was started with another key than is stored",
    "It goes on to accept the old key, and refuses the new one.",
    "keyturn service restart",
    "The environment of the process is read where the process is yours, and its keys are compared "
    "by fingerprint. Under the guard the key of the clients is not in there: then it is LiteLLM's "
    "internal key that differs from its env file.",
)
UNIT_UNUSABLE = Code(
    "KT308",
    "systemd does not run the gateway's unit",
    "The gateway does not come up, now or at the next login.",
    "keyturn apply, or look why it ended: keyturn service log",
    "A masked unit is never started; one that failed too often in a short time (start-limit-hit) "
    "is not tried again before `systemctl --user reset-failed`; one with a setting that systemd "
    "does not take is not loaded at all.",
)
UNIT_EDITED = Code(
    "KT309",
    "the service's files were changed by hand",
    "What runs is not what the lab says, and the next apply will ask what to do about it.",
    "keyturn apply --force, which puts it back and keeps a backup; keyturn plan shows the "
    "difference",
    "Found are files that are not as keyturn wrote them, drop-ins below litellm.service.d, and "
    "unit files that changed since systemd read them (systemctl --user daemon-reload).",
)
LINGERING = Code(
    "KT310",
    "the gateway ends when you log out",
    "After a logout or a reboot nothing answers until somebody logs in.",
    "loginctl enable-linger USER",
    "The manager of a user's units ends with the last session of that user, unless lingering is "
    "on. On a machine that you sit at all day that may be what you want.",
)
UNSET = Code(
    "KT311",
    "the config refers to a variable that the gateway does not have",
    "LiteLLM starts nevertheless, and may send another provider's key to that address.",
    "give the lab that secret (sops edit, and [secrets.NAME] in lab.toml), then: keyturn apply",
    "An unset os.environ/X becomes nothing without a word. As api_key the provider's usual "
    "variable takes its place, and that key goes to the configured address; as api_base the "
    "traffic goes to api.openai.com; as redis host LiteLLM does not start. Known are the variables "
    "of the running process, or, where none runs, those of its env file.",
)
TWO_KEYS = Code(
    "KT312",
    "config.yaml and the environment name different master keys",
    "The one in config.yaml wins, so the key in the environment is refused.",
    'keyturn apply --force, or write master_key: "os.environ/NAME" into config.yaml',
    "A literal general_settings.master_key overrides the variable. White space around it becomes "
    "part of the key, and then nobody can log in.",
)
FALLBACK = Code(
    "KT313",
    "a fallback to a model that does not exist",
    "It fails at the moment when it is needed.",
    "keyturn apply --force, or correct the name in config.yaml or lab.toml",
    "LiteLLM starts with fallbacks to names that model_list does not have, and --validate_config "
    "passes them. Looked at are fallbacks, context_window_fallbacks, content_policy_fallbacks and "
    "default_fallbacks, in router_settings and litellm_settings.",
)
PROVIDER = Code(
    "KT314",
    "a model with a provider that LiteLLM does not know",
    "LiteLLM leaves the model out without a word, and answers 400 to requests for it.",
    "write a known provider before the slash, such as ollama_chat/NAME or hosted_vllm/NAME",
    "The word before the first slash of litellm_params.model names the provider. The known ones "
    "are read from the list of the LiteLLM that is installed for the lab; where none is found, "
    "only those that keyturn itself writes are known, and it is a warning.",
)
SALT = Code(
    "KT315",
    "a database without a salt key",
    "LiteLLM encrypts it with the key it is started with, so another makes its rows unreadable.",
    "give it one, as keyturn rotate --all says when it refuses",
    "Models, credentials and settings in LiteLLM's database are encrypted with LITELLM_SALT_KEY, "
    "or, where that is unset, with the key that LiteLLM is started with: under the guard "
    "KEYTURN_INTERNAL_KEY, else the master key. To change that one, the database must be "
    "encrypted anew (keyturn rotate --re-encrypt), or the salt key be set to today's value first.",
)
VERSION = Code(
    "KT316",
    "a LiteLLM that was not tested",
    "Its answers to a wrong key, and what it does with its config, differ by version.",
    "write a tested version into lab.toml, or take care: keyturn check after each change",
    "All of keyturn's tests run with the version that `keyturn init` writes into lab.toml, those "
    "of the guard, the configuration and rotations with the others, too. Before 1.106 an unset "
    "master key means an open gateway, and a debug log holds the key in full.",
)
LEAKED = Code(
    "KT317",
    "a key stands in the gateway's log",
    "Whoever reads the log, or a copy of it, has the key.",
    "take --detailed_debug or LITELLM_LOG=DEBUG away, then: keyturn rotate",
    "The last 2000 lines of the service were searched for the keys of the lab, also in their "
    "base64, URL and JSON forms. LiteLLM before 1.106 writes them with --detailed_debug. "
    "Older lines, rotated logs and copies were not searched.",
)
DROP_PARAMS = Code(
    "KT318",
    "drop_params is off",
    "Anthropic's clients send parameters that other providers refuse, with a 400.",
    "keyturn apply --force, or write drop_params: true under litellm_settings",
    "Such as thinking: Claude Code sends it to some models and not to others. With drop_params "
    "LiteLLM leaves out what a provider does not take; a few fields (top_k) pass nevertheless.",
)
EXPOSED = Code(
    "KT319",
    "the gateway listens to other machines",
    "The key goes over the network unencrypted, and others may try keys.",
    'write host = "127.0.0.1" under [gateway] in lab.toml, then keyturn apply',
    "LiteLLM speaks plain HTTP. For other machines put a proxy with TLS before it, or use an SSH "
    "tunnel, and let it listen on the loopback address.",
)
CONFIG_BROKEN = Code(
    "KT320",
    "config.yaml cannot be read",
    "LiteLLM does not start with it.",
    "keyturn apply --force, which writes it anew and keeps a backup",
    "It must be YAML, a mapping, with a list model_list. keyturn renders it from lab.toml, so it "
    "need not be written by hand.",
)
VARIABLES = Code(
    "KT321",
    "variables that change what LiteLLM does",
    "LiteLLM takes addresses, proxies and debugging from variables, whatever its config says.",
    "take them out of the unit's drop-ins, or of the program that gateway.command names; then: "
    "keyturn service restart",
    "HOST, PORT and NUM_WORKERS change where and how it serves, DEBUG, DETAILED_DEBUG and "
    "LITELLM_LOG what it logs, HTTP_PROXY which way requests to a backend go, CONFIG_FILE_PATH "
    "which config it reads. keyturn takes all of these away from the gateway that it runs, unless "
    "the lab gives it one as a secret. In this shell they matter to a LiteLLM started by hand.",
)
SALT_CHANGED = Code(
    "KT322",
    "another salt key than the database was encrypted with",
    "LiteLLM reads the models and credentials in its database with it, and now cannot.",
    "put the earlier LITELLM_SALT_KEY back into its store (sops edit, or from git); where the "
    "database is a new one: keyturn rotate LITELLM_SALT_KEY --i-know",
    "keyturn remembers the fingerprint of the salt key that it last applied, and keeps it for as "
    "long as there is a database. LiteLLM says nothing: what it cannot decrypt is not there. There "
    "is no way to the values but the old salt key.",
)
