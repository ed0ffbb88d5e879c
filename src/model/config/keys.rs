//! Every key that exists, table by table. Tests hold the parser, `examples/primary.toml` and
//! `docs/configuration.md` against this list.

/// The tables, as they are written, each with its keys in the order of the reference.
pub const KEYS: &[(&str, &[&str])] = &[
    ("[node]", &["name", "letsencrypt", "webroot", "webroots", "state", "addresses", "key_group", "key_mode"]),
    ("[[service]]", &["name", "test", "reload", "probe", "joined", "timeout"]),
    ("[ssh]", &["identity", "known_hosts", "connect_timeout"]),
    ("[[peer]]", &["name", "ssh", "addresses", "transport", "receive", "lineages", "challenges", "config"]),
    ("[challenge]", &["require", "budget", "abort_certbot", "check_dns", "fronts", "prove_at", "keep_tokens"]),
    ("[deploy]", &["require", "canary", "parallel", "lineages", "rename", "budget", "missing_names"]),
    (
        "[[alert]]",
        &[
            "to",
            "url",
            "argv",
            "from",
            "recipients",
            "user",
            "secret_file",
            "secret_env",
            "events",
            "min_severity",
            "timeout",
            "retries",
            "remind",
        ],
    ),
];
