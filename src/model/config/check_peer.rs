//! From the file's `[[peer]]` to peers that are not confused with each other or with this node.

use super::check::{argv, patterns};
use super::diagnostic::Fault;
use super::raw::RawPeer;
use super::{Node, Peer, SshTarget, Transport};

const MOST_PEERS: usize = 1000;

pub(super) fn peers(raw: Vec<RawPeer>, node: &Node) -> Result<Vec<Peer>, Fault> {
    let mut peers: Vec<Peer> = Vec::new();
    for raw in raw {
        let at = raw.name.span();
        let ssh_at = raw.ssh.as_ref().map_or_else(|| at.clone(), toml::Spanned::span);
        let peer = peer(raw)?;
        if peers.len() == MOST_PEERS {
            return Err(Fault::new(at, "too many peers", format!("expected at most {MOST_PEERS}")));
        }
        if peer.name == node.name {
            let text = format!("peer \"{}\" has the name of this node", peer.name);
            return Err(Fault::new(at, text, "expected another name; this node itself is no peer"));
        }
        if peers.iter().any(|other| other.name == peer.name) {
            return Err(Fault::new(at, format!("a second peer \"{}\"", peer.name), "expected another name"));
        }
        if let Some(other) = peers.iter().find(|other| same_server(other, &peer)) {
            let text = format!("peer \"{}\" already has this host and port", other.name);
            return Err(Fault::new(ssh_at, text, "expected another server"));
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn peer(raw: RawPeer) -> Result<Peer, Fault> {
    let name = raw.name.get_ref().0.clone();
    let local = raw.transport == Transport::Local;
    let only_local = [
        ("receive", raw.receive.as_ref().map(toml::Spanned::span)),
        ("config", raw.config.as_ref().map(toml::Spanned::span)),
    ];
    for (key, span) in only_local {
        let Some(span) = span.filter(|_| !local) else { continue };
        let text = format!("`{key}` is for transport = \"local\" alone");
        return Err(Fault::new(span, text, "a server reached over ssh decides this itself"));
    }
    let ssh = match raw.ssh {
        Some(target) => target.into_inner().0,
        None if local => SshTarget { user: None, host: "localhost".into(), port: None },
        None => {
            let text = format!("peer \"{name}\" has no `ssh`");
            return Err(Fault::new(raw.name.span(), text, "needs `ssh`, such as ssh = \"root@192.0.2.2:22\""));
        }
    };
    let mut addresses: Vec<_> = raw.addresses.into_iter().map(|text| text.0.0).collect();
    if addresses.is_empty() && !local {
        addresses.extend(ssh.address());
    }
    Ok(Peer {
        name,
        ssh,
        addresses,
        transport: raw.transport,
        receive: raw.receive.map(argv).transpose()?.unwrap_or_default(),
        lineages: patterns(raw.lineages),
        challenges: patterns(raw.challenges),
        config: raw.config.map(|path| path.into_inner().0.0),
    })
}

/// Whatever the account is, two peers at one place would each undo what the other does.
fn same_server(one: &Peer, other: &Peer) -> bool {
    one.transport != Transport::Local && other.transport != Transport::Local && one.ssh.is_same_server(&other.ssh)
}
