"""KT0xx: what everything else depends on."""

from bootstrap.domain.doctor.finding import Code

LAB_UNREADABLE = Code(
    "KT001",
    "the lab file is missing or cannot be read",
    "Without it keyturn does not know the gateway's address, the models and where the key lives.",
    "keyturn init, or correct lab.toml at the place that is named",
    "The other checks go on with the defaults (a gateway at 127.0.0.1:4000) as far as they can;"
    " those that compare something with the lab are not applicable.",
)
KEY_UNREADABLE = Code(
    "KT002",
    "the master key cannot be read from its sources",
    "Nothing can be compared with the key that should be in force.",
    "see each source and why it was passed over: keyturn list",
    "The sources of LITELLM_MASTER_KEY in lab.toml are asked in order. Usual causes: no age "
    "identity on this machine, a locked keyring, a store that git left with conflict markers.",
)
NOT_OBSERVED = Code(
    "KT003",
    "something could not be looked at",
    "The checks that need it could say nothing, so there may be more to find.",
    "mend what is named, then: keyturn doctor",
    "Each part of the machine is looked at on its own, within a few seconds. A part that fails "
    "or does not answer in time is named here, and the checks that need it are not applicable.",
)
