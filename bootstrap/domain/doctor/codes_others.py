"""KT56x, KT57x: clients other than droid and Claude Code. Open WebUI 0.12.4 was run."""

from bootstrap.domain.doctor.finding import Code

WEBUI_UNREADABLE = Code(
    "KT561",
    "the file that lab.toml names for Open WebUI tells no connection",
    "doctor cannot say whether Open WebUI asks this gateway.",
    "correct config under [clients.openwebui] in lab.toml: webui.db in its data folder, or the env "
    "file that it is started with",
    "`config` is read and nothing else of Open WebUI's, and only by doctor. The database is opened "
    "for reading, never locked, and no file is made beside it; both layouts of its table `config` "
    "are known, one row with everything (older ones) and one row for each setting. In an env file "
    "a reference such as ${NAME} tells nothing: docker compose puts a value in, systemd does not.",
)
WEBUI_ELSEWHERE = Code(
    "KT562",
    "no connection of Open WebUI leads to the gateway",
    "Its users see other models, or none.",
    "in Open WebUI: Admin Settings, Connections, enter the gateway's address with /v1; or start it "
    "with ENABLE_PERSISTENT_CONFIG=False and openwebui.env as its environment",
    "Open WebUI takes OPENAI_API_BASE_URL at its first start, keeps it in webui.db, and from then "
    "on what is kept there wins over its environment. The address is the gateway's with `/v1`. "
    "In a container 127.0.0.1 is the container itself; host.docker.internal with the gateway's "
    "port counts as the gateway. All connections of this kind can be turned off there, and each. "
    "An address that ends with a slash leads nowhere: its page takes that off, and its start off "
    "OPENAI_API_BASE_URL, but not off those of OPENAI_API_BASE_URLS.",
)
WEBUI_KEY = Code(
    "KT563",
    "Open WebUI sends a key that is not in force",
    "The gateway refuses it, or will at the end of the grace time: then its models fail, and soon "
    "it lists none.",
    "keyturn get LITELLM_MASTER_KEY, and enter it in Open WebUI: Admin Settings, Connections; or "
    "start it with ENABLE_PERSISTENT_CONFIG=False and openwebui.env as its environment",
    "A rotation changes openwebui.env, and Open WebUI 0.12.4 was seen to go on with the key of its "
    "first start, which stands in webui.db, after a restart with the new one, too. With "
    "ENABLE_PERSISTENT_CONFIG=False it takes the key of its environment at each start, and leaves "
    "the old one in webui.db: let config name the env file then.",
)
WEBUI_OPEN = Code(
    "KT564",
    "other users can read the file in which Open WebUI keeps its key",
    "The key stands in it as plain text.",
    "chmod 600 on that file, then keyturn rotate if others use this machine",
    "Open WebUI makes webui.db with the mode that its umask gives, 0644 as a rule, and its data "
    "folder with 0755. Nothing is said where a folder above keeps others out. What SQLite keeps "
    "beside it (webui.db-wal) has the mode that webui.db had when Open WebUI was started.",
)
PACKAGE_BROKEN = Code(
    "KT571",
    "a package brings a client that cannot be used",
    "The client is not there; if lab.toml names it, plan, apply, check and rotate stop at it.",
    "install a version of the package that fits this keyturn, or uninstall it",
    "An entry point of the group keyturn.clients does not load, or does not lead to a client's "
    "description. What the package itself said is not repeated, as it might quote a secret: "
    "`python -c 'import MODULE'` shows it.",
)
PACKAGE_FILE = Code(
    "KT572",
    "the file of a client from a package is missing or holds a key that is not in force",
    "The gateway refuses it.",
    "keyturn apply",
    "It is compared with the keys that the gateway accepts, by fingerprint, at the places that the "
    "package's description names.",
)
PACKAGE_UNTESTED = Code(
    "KT573",
    "a client from a package has a version that the package was not tested with",
    "Its settings may have changed.",
    "look for a newer version of the package",
    "The description names the versions that its author ran; those between the first and the last "
    "of them count as tested.",
)
