//! The file's shape, for serde: every key that exists, each value already read into its type where
//! one value can be judged alone. [`super::check`] judges them together.

use serde::Deserialize;
use toml::Spanned;

use super::alert::{AlertKind, EndpointUrl, EnvName, Event, Mailbox, Severity};
use super::pattern::Pattern;
use super::service::{JoinedPath, ProbeTarget};
use super::ssh_target::SshTarget;
use super::value::{Absolute, Address, Group, Instead, KeyMode, Pairs, Span, Text};
use super::{MissingNames, Require, Transport};
use crate::model::names::{Identifier, LineageName, NodeName};

pub(super) type Argv = Spanned<Vec<String>>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawConfig {
    pub node: RawNode,
    pub service: Vec<RawService>,
    pub ssh: RawSsh,
    pub peer: Vec<RawPeer>,
    pub challenge: RawChallenge,
    pub deploy: RawDeploy,
    pub alert: Vec<RawAlert>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawNode {
    pub name: Option<Text<NodeName>>,
    pub letsencrypt: Option<Text<Absolute>>,
    pub webroot: Option<Text<Absolute>>,
    pub webroots: Pairs<Identifier, Absolute>,
    pub state: Option<Text<Absolute>>,
    pub addresses: Vec<Text<Address>>,
    pub key_group: Option<Text<Group>>,
    pub key_mode: Option<Text<KeyMode>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawService {
    pub name: Spanned<String>,
    pub test: Option<Argv>,
    pub reload: Option<Argv>,
    pub probe: Option<Vec<Text<ProbeTarget>>>,
    pub joined: Option<Spanned<Text<JoinedPath>>>,
    pub timeout: Option<Text<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawSsh {
    pub identity: Option<Text<Absolute>>,
    pub known_hosts: Option<Text<Absolute>>,
    pub connect_timeout: Option<Text<Span>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPeer {
    pub name: Spanned<Text<NodeName>>,
    pub ssh: Option<Spanned<Text<SshTarget>>>,
    #[serde(default)]
    pub addresses: Vec<Text<Address>>,
    #[serde(default)]
    pub transport: Transport,
    pub receive: Option<Argv>,
    pub lineages: Option<Vec<Text<Pattern>>>,
    pub challenges: Option<Vec<Text<Pattern>>>,
    pub config: Option<Spanned<Text<Absolute>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawChallenge {
    pub require: Option<Require>,
    pub budget: Option<Text<Span>>,
    pub abort_certbot: Option<bool>,
    pub check_dns: Option<bool>,
    pub fronts: Vec<Text<Address>>,
    pub prove_at: Pairs<Address, Instead>,
    pub keep_tokens: Option<Text<Span>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawDeploy {
    pub require: Option<Require>,
    pub canary: Option<bool>,
    pub parallel: Option<Spanned<i64>>,
    pub lineages: Option<Vec<Text<Pattern>>>,
    pub rename: Pairs<LineageName, LineageName>,
    pub budget: Option<Text<Span>>,
    pub missing_names: Option<MissingNames>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAlert {
    pub to: Spanned<AlertKind>,
    pub url: Option<Spanned<Text<EndpointUrl>>>,
    pub argv: Option<Argv>,
    pub from: Option<Spanned<Text<Mailbox>>>,
    pub recipients: Option<Spanned<Vec<Text<Mailbox>>>>,
    pub user: Option<Spanned<String>>,
    pub secret_file: Option<Spanned<Text<Absolute>>>,
    pub secret_env: Option<Spanned<Text<EnvName>>>,
    pub events: Option<Spanned<Vec<Event>>>,
    pub min_severity: Option<Severity>,
    pub timeout: Option<Text<Span>>,
    pub retries: Option<Spanned<i64>>,
    pub remind: Option<Text<Span>>,
}
