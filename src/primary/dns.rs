//! What DNS says about a name, as the CA would hear it: never `/etc/hosts`, never a cache of ours.

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Answer, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::model::deadline::Deadline;
use crate::model::escape::escaped;
use crate::model::names::Identifier;
use crate::model::some_of::{SomeOf, grouped};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved answers, by `/etc/hosts` and for this machine's own name too.
const STUB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 53));
/// Whom it asks itself.
const BEHIND_STUB: &str = "/run/systemd/resolve/resolv.conf";
/// No resolver's configuration is longer.
const RESOLV_CONF_BYTES: u64 = 64 * 1024;
/// How many names are looked up at once; resolvers drop what comes in larger bursts.
const PARALLEL: usize = 8;

/// Why it is not known which addresses a name has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DnsError {
    /// NXDOMAIN.
    #[error(
        "DNS knows no {0}, or not the name it is an alias of: the CA will not find it either; add A and AAAA records for it"
    )]
    NoName(Identifier),
    /// The name exists, with neither A nor AAAA.
    #[error("DNS has neither A nor AAAA records for {0}: the CA will not find it either; add them")]
    NoRecords(Identifier),
    /// No answer in time.
    #[error("DNS did not answer for {0} ({1}) in time; look at the name servers in {RESOLV_CONF}")]
    Timeout(Identifier, RecordType),
    /// An answer that is an error: SERVFAIL, REFUSED and their like.
    #[error("DNS answers \"{2}\" for {0} ({1}); look at the zone's name servers and at those in {RESOLV_CONF}")]
    Failed(Identifier, RecordType, String),
    /// No answer for another reason.
    #[error("DNS cannot be asked for {0} ({1}): {2}; look at the name servers in {RESOLV_CONF}")]
    Unreachable(Identifier, RecordType, String),
    /// Nobody to ask.
    #[error("no name server to ask: {RESOLV_CONF}: {0}")]
    Config(String),
}

impl DnsError {
    /// Whether this is what DNS says, so that the CA will hear it too, and not trouble in asking.
    pub fn is_definite(&self) -> bool {
        matches!(self, DnsError::NoName(_) | DnsError::NoRecords(_))
    }

    fn name(&self) -> Option<&Identifier> {
        match self {
            DnsError::NoName(name)
            | DnsError::NoRecords(name)
            | DnsError::Timeout(name, _)
            | DnsError::Failed(name, ..)
            | DnsError::Unreachable(name, ..) => Some(name),
            DnsError::Config(_) => None,
        }
    }
}

/// One line a kind of trouble, however many names it struck.
pub fn summary(errors: &[DnsError]) -> Vec<String> {
    let line = |group: &Vec<&DnsError>| {
        let (first, others) = group.split_first()?;
        let names: Vec<_> = others.iter().filter_map(|error| error.name()).collect();
        Some(if names.is_empty() { first.to_string() } else { format!("{first} (and so for {})", SomeOf(&names)) })
    };
    let by_kind = grouped(errors.iter().map(|error| (std::mem::discriminant(error), error)));
    by_kind.iter().filter_map(|(_, group)| line(group)).collect()
}

/// The names' A and AAAA records, sorted, aliases followed; in the names' order. An address is its own record.
///
/// Both families must answer: half an answer would hide an address the CA may ask.
pub fn lookup_all(names: &[Identifier], deadline: Deadline) -> Vec<Result<Vec<IpAddr>, DnsError>> {
    let looked_up = system_servers().map(|(servers, options)| lookup_at(servers, options, names, deadline));
    looked_up.unwrap_or_else(|error| names.iter().map(|name| own(name).ok_or_else(|| error.clone())).collect())
}

/// The address that an IP identifier is.
fn own(name: &Identifier) -> Option<Vec<IpAddr>> {
    match name {
        Identifier::Ip(address) => Some(vec![*address]),
        Identifier::Dns(_) => None,
    }
}

fn system_servers() -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    servers_behind(Path::new(RESOLV_CONF), Path::new(BEHIND_STUB))
}

/// Those of the first file; if that is the stub only, those of the second one, where it has any.
fn servers_behind(resolv_conf: &Path, behind_stub: &Path) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    let found = servers(resolv_conf)?;
    let is_stub = found.0.name_servers().iter().all(|server| server.ip == STUB);
    Ok(if is_stub { servers(behind_stub).unwrap_or(found) } else { found })
}

fn servers(resolv_conf: &Path) -> Result<(ResolverConfig, ResolverOpts), DnsError> {
    let unreadable = |error: io::Error| DnsError::Config(error.to_string());
    let mut text = Vec::new();
    File::open(resolv_conf).and_then(|file| file.take(RESOLV_CONF_BYTES).read_to_end(&mut text)).map_err(unreadable)?;
    parse_resolv_conf(text).map_err(|error| DnsError::Config(escaped(&error.to_string())))
}

fn lookup_at(
    servers: ResolverConfig,
    options: ResolverOpts,
    names: &[Identifier],
    deadline: Deadline,
) -> Vec<Result<Vec<IpAddr>, DnsError>> {
    // The library's async ends here: one thread, one runtime, gone when this returns.
    let asked = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(ask_all(servers, options, names, deadline)));
    asked.unwrap_or_else(|error| names.iter().map(|_| Err(DnsError::Config(escaped(&error)))).collect())
}

async fn ask_all(
    servers: ResolverConfig,
    mut options: ResolverOpts,
    names: &[Identifier],
    deadline: Deadline,
) -> Result<Vec<Result<Vec<IpAddr>, DnsError>>, String> {
    options.use_hosts_file = ResolveHosts::Never;
    options.cache_size = 0;
    let mut builder = TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    let resolver = builder.build().map_err(|error| error.to_string())?;
    let (names, next): (Arc<[Identifier]>, _) = (names.into(), Arc::new(AtomicUsize::new(0)));
    let mut workers = JoinSet::new();
    for _ in 0..PARALLEL.min(names.len()) {
        let (resolver, names, next) = (resolver.clone(), Arc::clone(&names), Arc::clone(&next));
        workers.spawn(async move {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(name) = names.get(at) else { return found };
                found.push((at, ask(&resolver, name, deadline).await));
            }
        });
    }
    let mut found: Vec<_> = workers.join_all().await.into_iter().flatten().collect();
    found.sort_by_key(|(at, _)| *at);
    Ok(found.into_iter().map(|(_, records)| records).collect())
}

async fn ask(resolver: &TokioResolver, name: &Identifier, deadline: Deadline) -> Result<Vec<IpAddr>, DnsError> {
    if let Some(address) = own(name) {
        return Ok(address);
    }
    let mut addresses = Vec::new();
    let mut exists = false;
    // One after the other: some resolvers answer only one of two questions asked in one breath.
    for family in [RecordType::A, RecordType::AAAA] {
        // The final dot keeps resolv.conf's search list out of it.
        match timeout(deadline.left(), resolver.lookup(format!("{name}."), family)).await {
            Ok(Ok(answer)) => addresses.extend(answer.answers().iter().filter_map(|record| address(&record.data))),
            Ok(Err(NetError::Dns(Answer::NoRecordsFound(none)))) if none.response_code == ResponseCode::NXDomain => {
                continue;
            }
            Ok(Err(NetError::Dns(Answer::NoRecordsFound(none)))) if none.response_code == ResponseCode::NoError => {}
            Ok(Err(error)) => return Err(trouble(name, family, &error)),
            Err(_elapsed) => return Err(DnsError::Timeout(name.clone(), family)),
        }
        exists = true;
    }
    addresses.sort_unstable();
    addresses.dedup();
    match (addresses.is_empty(), exists) {
        (false, _) => Ok(addresses),
        (true, true) => Err(DnsError::NoRecords(name.clone())),
        (true, false) => Err(DnsError::NoName(name.clone())),
    }
}

fn address(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0).to_canonical()),
        _ => None,
    }
}

fn trouble(name: &Identifier, family: RecordType, error: &NetError) -> DnsError {
    let name = name.clone();
    match error {
        NetError::Timeout => DnsError::Timeout(name, family),
        NetError::Dns(Answer::ResponseCode(code)) => DnsError::Failed(name, family, code.to_string()),
        NetError::Dns(Answer::NoRecordsFound(none)) => DnsError::Failed(name, family, none.response_code.to_string()),
        other => DnsError::Unreachable(name, family, escaped(&other.to_string())),
    }
}

#[cfg(test)]
mod tests;
