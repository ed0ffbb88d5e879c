//! A primary's side of one conversation, written without one: for tests of a single peer.

use certcast::model::bundle::PemFiles;
use certcast::model::names::{LineageName, NodeName};
use certcast::model::outcome::Outcome;
use certcast::wire::message::{Ended, Offer, Ownership, Reply, Request, TreeAttributes, Wishes};
use certcast::wire::transaction_id::TransactionId;
use certcast::wire::{banner, frame};

use super::bundle::Bundle;
use super::host::Host;
use super::process::{Command, Finished};

impl Host {
    /// `receive` with a whole transaction on its input: hello, prepare, commit. The transaction's name is one
    /// hexadecimal digit, repeated; the primary has all versions from 1 to this one.
    pub fn receiving(&self, lineage: &str, number: u32, bundle: &Bundle, transaction: char) -> Command {
        self.receiving_under(&[], lineage, number, bundle, transaction)
    }

    /// The same under another program, such as strace.
    pub fn receiving_under(
        &self,
        program: &[&str],
        lineage: &str,
        number: u32,
        bundle: &Bundle,
        transaction: char,
    ) -> Command {
        let transaction: TransactionId = transaction.to_string().repeat(32).try_into().unwrap();
        let own = |mode| Ownership { uid: 0, gid: 0, mode };
        let offer = Offer {
            lineage: lineage.parse::<LineageName>().unwrap(),
            number: number.try_into().unwrap(),
            files: files(bundle),
            attributes: TreeAttributes { directory: own(0o755), key: own(0o600), public: own(0o644) },
            keep: (1..=number).map(|number| number.try_into().unwrap()).collect(),
            refuse_missing_names: false,
            wishes: Wishes::default(),
        };
        let node = "primary".parse::<NodeName>().unwrap();
        let mut stream = Vec::new();
        banner::write(&mut stream).unwrap();
        for request in [
            Request::Hello { version: "test".into(), node, budget_ms: 60_000 },
            Request::Prepare { transaction: transaction.clone(), budget_ms: 60_000, offers: vec![offer] },
            Request::Commit { transaction },
        ] {
            stream.extend_from_slice(&frame::encode(&request).unwrap());
        }
        let words = program.iter().chain(&["/usr/local/bin/certcast", "receive", "--role", "deploy"]);
        self.command(words).input(stream)
    }
}

/// The outcome that a receiver told before its end, if it did.
pub fn told(finished: &Finished) -> Option<Outcome> {
    let mut output = finished.stdout.as_slice();
    banner::read(&mut output).ok()?;
    let mut outcome = None;
    while let Ok(reply) = frame::read::<Reply>(&mut output) {
        if let Reply::Prepared { apart: ended, .. } | Reply::Concluded { lineages: ended } = reply {
            outcome = ended.into_iter().next().map(|Ended { outcome, .. }| outcome).or(outcome);
        }
    }
    outcome
}

fn files(bundle: &Bundle) -> PemFiles {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    PemFiles {
        cert: text(&bundle.cert),
        privkey: text(&bundle.privkey).into(),
        chain: text(&bundle.chain),
        fullchain: text(&bundle.fullchain),
    }
}
